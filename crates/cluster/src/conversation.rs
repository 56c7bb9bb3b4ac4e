//! Conversations between two nodes: one asks, the other answers, in turn, over one stream. What they are about is up to whoever
//! holds them; what one end holds for the other goes with the stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, Stream};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::internal::proto::Work;
use crate::internal::{ANSWER_MAX, Undone, client, cut};

/// Takes part in the conversations that other nodes begin.
pub trait Converse: Send + Sync {
    /// One more.
    fn begin(&self) -> Box<dyn Partner>;
}

/// The answering end of one conversation. Dropped with it, whether that was ended or broke off.
#[async_trait]
pub trait Partner: Send {
    /// Answers the next question; an error, which the other end is told, ends the conversation.
    async fn answer(&mut self, question: Bytes) -> Result<Bytes, String>;

    /// How long the other end may say nothing before it is taken for gone.
    fn patience(&self) -> Duration;
}

/// The answers of `partner` to `questions`.
pub(crate) fn answers(
    partner: Box<dyn Partner>,
    questions: Streaming<Work>,
) -> impl Stream<Item = Result<Work, Status>> + Send {
    stream::unfold(Some((partner, questions)), async |state| {
        let (mut partner, mut questions) = state?;
        let asked = tokio::time::timeout(partner.patience(), questions.message()).await;
        let question = match asked {
            Ok(Ok(Some(Work { bytes }))) => bytes,
            Ok(Ok(None)) => return None,
            Ok(Err(status)) => return Some((Err(status), None)),
            Err(_) => return Some((Err(Status::deadline_exceeded("nothing was asked for too long")), None)),
        };
        match partner.answer(question).await {
            Ok(bytes) => Some((Ok(Work { bytes }), Some((partner, questions)))),
            Err(reason) => Some((Err(Status::failed_precondition(cut(reason))), None)),
        }
    })
}

/// The asking end of one conversation. Ends it when dropped.
pub struct Conversation {
    questions: mpsc::Sender<Work>,
    answers: Streaming<Work>,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").finish_non_exhaustive()
    }
}

impl Conversation {
    /// Begins one with the process of `boot` behind `channel`.
    pub(crate) async fn begin(channel: Channel, secret: &str, boot: &str) -> Result<Self, Undone> {
        let mut client = client(channel, secret, boot)?;
        let (questions, asked) = mpsc::channel(1);
        match tokio::time::timeout(ANSWER_MAX, client.converse(Request::new(Questions(asked)))).await {
            Ok(Ok(answers)) => Ok(Self { questions, answers: answers.into_inner() }),
            Ok(Err(status)) => Err(undone(&status)),
            Err(_) => Err(Undone::Failed("it does not answer in time".to_owned())),
        }
    }

    /// The answer to a question. After an error the conversation has ended, and so it has if this is dropped before it is
    /// there.
    pub async fn ask(&mut self, question: Bytes) -> Result<Bytes, Undone> {
        let ended = || Undone::Failed("it has ended the conversation".to_owned());
        // Where it has ended, the answers say why.
        _ = self.questions.send(Work { bytes: question }).await;
        match self.answers.message().await {
            Ok(Some(Work { bytes })) => Ok(bytes),
            Ok(None) => Err(ended()),
            Err(status) => Err(undone(&status)),
        }
    }
}

/// The questions, as they come. A type of its own: the compiler cannot see that a future with a boxed stream in it is `Send`.
struct Questions(mpsc::Receiver<Work>);

impl Stream for Questions {
    type Item = Work;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Work>> {
        self.0.poll_recv(context)
    }
}

pub(crate) fn undone(status: &Status) -> Undone {
    match status.code() {
        Code::FailedPrecondition => Undone::Refused(status.message().to_owned()),
        Code::Aborted => Undone::Unable(status.message().to_owned()),
        code => Undone::Failed(format!("{code}: {}", status.message())),
    }
}
