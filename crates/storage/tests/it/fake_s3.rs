//! A small S3 server that does as it is told: fails, stalls, truncates, loses answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use redkite_storage::{S3Credentials, StorageOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status and does nothing.
    Status(u16, &'static str),
    /// Answers with this status and this code of S3's, and does nothing.
    Error(u16, &'static str, &'static str),
    /// Does what is asked and closes the connection instead of answering.
    LoseAnswer,
    /// Never answers.
    Stall,
    /// Answers, but closes the connection after half of the body.
    CutBody,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    /// Parts by number, of each upload that is not over.
    uploads: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
    next_upload: usize,
    /// For the next requests of a method, in order.
    faults: Vec<(String, VecDeque<Fault>)>,
    /// Answers 501 to a put that must not replace.
    no_conditional_puts: bool,
    /// Taken by all requests of a method once its queue is empty.
    always: Option<(String, Fault)>,
    requests: Vec<String>,
}

/// A running server; it ends with the test's runtime.
#[derive(Debug, Clone)]
pub struct FakeS3 {
    state: Arc<Mutex<State>>,
    endpoint: String,
}

impl FakeS3 {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { state: Arc::default(), endpoint };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    /// Options for a store on this server, with little patience.
    pub fn options(&self, cache: &std::path::Path) -> StorageOptions {
        let mut options = StorageOptions::new("s3://bucket/p");
        options.endpoint = Some(self.endpoint.clone());
        options.region = Some("us-east-1".to_owned());
        options.credentials =
            Some(S3Credentials { access_key_id: "id".to_owned(), secret_access_key: "secret".to_owned() });
        options.cache_dir = Some(cache.to_owned());
        // What is read is read from the server, then and not by chance.
        options.keep_puts = false;
        options.retry_timeout = std::time::Duration::from_millis(1_000);
        options.request_timeout = std::time::Duration::from_millis(300);
        options
    }

    /// Lets the next requests of `method` fail.
    pub fn fail(&self, method: &str, faults: &[Fault]) {
        self.state.lock().unwrap().faults.push((method.to_owned(), faults.iter().copied().collect()));
    }

    /// Lets all requests of `method` fail from now on.
    pub fn fail_always(&self, method: &str, fault: Fault) {
        self.state.lock().unwrap().always = Some((method.to_owned(), fault));
    }

    /// Ends [`FakeS3::fail_always`].
    pub fn recover(&self) {
        self.state.lock().unwrap().always = None;
    }

    /// Becomes a server that knows no conditional puts.
    pub fn forget_conditional_puts(&self) {
        self.state.lock().unwrap().no_conditional_puts = true;
    }

    /// Replaces an object behind the client's back.
    pub fn overwrite(&self, key: &str, bytes: &[u8]) {
        self.state.lock().unwrap().objects.insert(format!("/bucket/p/{key}"), bytes.to_vec());
    }

    /// The object at `key`.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().objects.get(&format!("/bucket/p/{key}")).cloned()
    }

    /// How many uploads in parts are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    /// How many requests of `method` have come.
    pub fn requests(&self, method: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|seen| *seen == method).count()
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = Request::read(&mut stream).await {
            let (fault, answer) = self.handle(&request);
            let stream = stream.get_mut();
            let sent = match fault {
                Some(Fault::Stall) => std::future::pending().await,
                Some(Fault::LoseAnswer) => return,
                Some(Fault::CutBody) => {
                    let _ = stream.write_all(&answer[..answer.len() - request.answer_body_len(&answer) / 2]).await;
                    return;
                }
                Some(Fault::Status(..) | Fault::Error(..)) | None => stream.write_all(&answer).await,
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn handle(&self, request: &Request) -> (Option<Fault>, Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        state.requests.push(request.method.clone());
        let queue = state.faults.iter_mut().find(|(method, faults)| *method == request.method && !faults.is_empty());
        let fault = queue.and_then(|(_, faults)| faults.pop_front());
        let always = state.always.as_ref().filter(|(method, _)| *method == request.method).map(|(_, fault)| *fault);
        let fault = fault.or(always);
        let answer = match fault {
            Some(Fault::Status(code, reason)) => respond(&format!("{code} {reason}"), "", b"<Error/>"),
            Some(Fault::Error(status, reason, code)) => {
                respond(&format!("{status} {reason}"), "", format!("<Error><Code>{code}</Code></Error>").as_bytes())
            }
            _ => state.answer(request),
        };
        (fault, answer)
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Vec<u8> {
        let upload = request.query("uploadId").map(str::to_owned);
        match (request.method.as_str(), upload) {
            ("POST", None) if request.query("uploads").is_some() => {
                self.next_upload += 1;
                self.uploads.insert(self.next_upload.to_string(), BTreeMap::new());
                let id = self.next_upload;
                let body = format!("<Result><UploadId>{id}</UploadId></Result>");
                respond("200 OK", "", body.as_bytes())
            }
            ("POST", None) if request.query("delete").is_some() => self.delete_listed(&request.body),
            (_, Some(upload)) => self.answer_upload(request, upload),
            _ => self.answer_object(request),
        }
    }

    /// A request about an upload in parts.
    fn answer_upload(&mut self, request: &Request, upload: String) -> Vec<u8> {
        let Some(parts) = self.uploads.get_mut(&upload) else {
            return respond("404 Not Found", "", b"<Error><Code>NoSuchUpload</Code></Error>");
        };
        match request.method.as_str() {
            "PUT" => {
                let number = request.query("partNumber").unwrap().parse().unwrap();
                parts.insert(number, request.body.clone());
                respond("200 OK", "ETag: \"1\"\r\n", b"")
            }
            "POST" => {
                let parts = self.uploads.remove(&upload).unwrap();
                assert!(parts.keys().copied().eq(1..=parts.len()), "parts {:?}", parts.keys());
                self.objects.insert(request.path.clone(), parts.into_values().flatten().collect());
                respond("200 OK", "", b"<Result><ETag>1</ETag></Result>")
            }
            "DELETE" => {
                self.uploads.remove(&upload);
                respond("204 No Content", "", b"")
            }
            _ => respond("405 Method Not Allowed", "", b""),
        }
    }

    /// Deletes the objects that `body`, XML, names.
    fn delete_listed(&mut self, body: &[u8]) -> Vec<u8> {
        let body = std::str::from_utf8(body).unwrap();
        let mut deleted = String::new();
        for key in body.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap()) {
            self.objects.remove(&format!("/bucket/{key}"));
            deleted += &format!("<Deleted><Key>{key}</Key></Deleted>");
        }
        respond("200 OK", "", format!("<DeleteResult>{deleted}</DeleteResult>").as_bytes())
    }

    fn answer_object(&mut self, request: &Request) -> Vec<u8> {
        let found = self.objects.get(&request.path);
        let conditional = request.header("if-none-match").is_some();
        match (request.method.as_str(), found) {
            ("PUT", _) if conditional && self.no_conditional_puts => respond("501 Not Implemented", "", b""),
            ("PUT", Some(_)) if conditional => respond("412 Precondition Failed", "", b""),
            ("PUT", _) => {
                self.objects.insert(request.path.clone(), request.body.clone());
                respond("200 OK", "ETag: \"1\"\r\n", b"")
            }
            ("GET" | "HEAD", None) => respond("404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>"),
            ("HEAD", Some(object)) => {
                format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n", object.len()).into_bytes()
            }
            ("GET", Some(object)) => ranged(object, request.header("range")),
            _ => respond("405 Method Not Allowed", "", b""),
        }
    }
}

fn ranged(object: &[u8], range: Option<&str>) -> Vec<u8> {
    let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
        return respond("200 OK", "ETag: \"1\"\r\n", object);
    };
    let (first, last) = range.split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let end = (last.parse::<usize>().unwrap() + 1).min(object.len());
    if first >= object.len() {
        return respond("416 Range Not Satisfiable", "", b"");
    }
    let headers = format!("ETag: \"1\"\r\nContent-Range: bytes {first}-{}/{}\r\n", end - 1, object.len());
    respond("206 Partial Content", &headers, &object[first..end])
}

fn respond(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[derive(Debug)]
struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        Some(Request { method, path, query, headers, body })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The value of a query parameter, empty if it has none.
    fn query(&self, name: &str) -> Option<&str> {
        let parameters = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        parameters.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn answer_body_len(&self, answer: &[u8]) -> usize {
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        answer.len() - head
    }
}
