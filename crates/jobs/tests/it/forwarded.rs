//! Files that one node stores for another one's block: kept while the block may still be committed, and collected after.

use redkite_ingest::Error;
use redkite_jobs::collect::sweep;
use redkite_jobs::{CollectReport, Scope};

use crate::faulty_meta::Call;
use crate::plain::Write::{DeleteTags, Insert};
use crate::switch::Switch;
use crate::work::{check_files, collect_all};
use crate::world::{Client, FILMS, Node, Stores, until};

/// A node that passes rows on to a second one, a client of it, and a third one that collects.
async fn scene() -> (Node, Node, Node, Client) {
    let stores = Stores::new().await;
    let (short, idle, collector) = (stores.node(1).await, stores.node(2).await, stores.node(3).await);
    short.create(FILMS).await;
    Switch::between(&short, &idle);
    let client = short.client();
    (short, idle, collector, client)
}

/// The revision moves on, everybody tells what they need, and what was never committed is looked for.
async fn swept(nodes: [&Node; 3]) -> CollectReport {
    let client = nodes[2].client();
    client.insert(&[(500, 5)]).await;
    let revision = client.flush().await;
    for node in nodes {
        node.database.at_least(revision).await.unwrap();
        node.database.tell_needs().await.unwrap();
    }
    sweep(&nodes[2].database, &Scope::All).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn stored_rows_are_kept_while_their_block_waits_and_collected_when_it_is_lost() {
    let (short, idle, collector, client) = scene().await;
    client.insert(&[(1, 1)]).await;
    // A filter has to see them: they are stored.
    client.films(DeleteTags(50, 60)).await;
    for _ in 0..2 {
        assert_eq!(swept([&short, &idle, &collector]).await, CollectReport::default());
    }
    client.flush().await;
    assert!(idle.rows(FILMS).await.contains(&(1, 1)));
    client.insert(&[(2, 2)]).await;
    client.films(DeleteTags(50, 60)).await;
    client.disconnect();
    until(|| async { swept([&short, &idle, &collector]).await.abandoned == 3 }).await;
    collect_all(&collector).await;
    check_files(&collector).await;
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_stored_at_a_flush_are_kept_until_its_commit() {
    let (short, idle, collector, client) = scene().await;
    client.insert(&[(1, 1)]).await;
    short.meta.stop_at(Call::Commit);
    let flushing = tokio::spawn({
        let client = client.clone();
        async move { client.try_flush().await }
    });
    short.meta.stopped().await;
    assert_eq!(swept([&short, &idle, &collector]).await, CollectReport::default());
    short.meta.resume();
    flushing.await.unwrap().unwrap();
    assert!(idle.rows(FILMS).await.contains(&(1, 1)));
    assert_eq!(swept([&short, &idle, &collector]).await, CollectReport::default());
    collect_all(&collector).await;
    check_files(&collector).await;
}

/// A node that is taken for dead loses its block, loudly and as a whole.
#[tokio::test(start_paused = true)]
async fn a_sender_that_was_taken_for_dead_is_told_that_its_uploads_are_gone() {
    let (short, idle, collector, client) = scene().await;
    client.insert(&[(1, 1)]).await;
    client.films(Insert(vec![(2, 2)])).await;
    short.meta.stop_at(Call::Commit);
    let flushing = tokio::spawn({
        let client = client.clone();
        async move { client.try_flush().await }
    });
    short.meta.stopped().await;
    short.database.leave().await.unwrap();
    let other = collector.client();
    other.insert(&[(500, 5)]).await;
    let revision = other.flush().await;
    for node in [&idle, &collector] {
        node.database.at_least(revision).await.unwrap();
        node.database.tell_needs().await.unwrap();
    }
    assert_eq!(sweep(&collector.database, &Scope::All).await.unwrap().abandoned, 3);
    short.meta.resume();
    let error = flushing.await.unwrap().unwrap_err();
    let Error::Discarded { cause } = &error else { panic!("{error}") };
    assert!(matches!(**cause, Error::UploadsCollected), "{error}");
    assert_eq!(idle.rows(FILMS).await, [(500, 5)]);
    client.insert(&[(3, 3)]).await;
    client.flush().await;
    assert_eq!(idle.rows(FILMS).await, [(3, 3), (500, 5)]);
    collect_all(&collector).await;
    check_files(&collector).await;
}
