//! Files on any store the `object_store` crate speaks: S3, and memory for tests.
//!
//! Failed requests are tried again within [`StorageOptions::retry_timeout`], most of them by `object_store`. What it does
//! not repeat is a create whose answer was lost; that is repeated here, and finding the own file there counts as success.

mod upload;
mod writer;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::client::HttpError;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::time::{Instant, sleep, timeout};

use super::ListedFile;
use super::mapped::{too_large, wrong_size};
use super::options::StorageOptions;
use super::s3::BACKOFF_MAX;
use crate::format::FileInfo;
use crate::{Error, Result, failpoint, metrics};
use upload::PartsUpload;
pub(super) use writer::ObjectWriter;

/// Files uploaded at the same time by one call.
const PUTS_IN_FLIGHT: usize = 16;
/// Parts of one file uploaded or downloaded at the same time.
const PARTS_IN_FLIGHT: usize = 4;
/// Files up to this size go in one request. S3 wants parts of 5 MiB at least.
const PART_BYTES: usize = 16 << 20;
/// Files deleted by one request; the limit of S3.
const DELETES_PER_REQUEST: usize = 1_000;
/// Such requests at the same time by one call.
const DELETE_REQUESTS_IN_FLIGHT: usize = 4;
/// Longest pause before a lost create is repeated for the first time; doubles from there.
const LOST_PUT_PAUSE: Duration = Duration::from_millis(100);
/// Longest text of a store's answer kept in an error.
const CAUSE_BYTES_MAX: usize = 500;

/// A store of `object_store`, seen through a prefix.
#[derive(Debug, Clone)]
pub(super) struct ObjectBackend {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    description: String,
    retry_timeout: Duration,
    request_timeout: Duration,
    /// Cleared when the store turns out not to know conditional puts.
    create_only: Arc<AtomicBool>,
}

impl ObjectBackend {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: &str, options: &StorageOptions) -> Self {
        let at = options.endpoint.iter().map(|endpoint| format!(" at {endpoint}")).collect::<String>();
        Self {
            store,
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            description: format!("{}{at}", options.url),
            retry_timeout: options.retry_timeout,
            request_timeout: options.request_timeout,
            create_only: Arc::new(AtomicBool::new(true)),
        }
    }

    pub(super) fn describe(&self) -> &str {
        &self.description
    }

    /// See [`super::DataStore::put_all`].
    pub(super) async fn put_all(&self, files: Vec<(String, Bytes)>) -> Result<()> {
        stream::iter(files)
            .map(|(path, bytes)| async move { self.put(&path, bytes).await })
            .buffer_unordered(PUTS_IN_FLIGHT)
            .try_collect::<()>()
            .await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        failpoint::pass(failpoint::BEFORE_PUT, path)?;
        if bytes.len() > PART_BYTES {
            self.put_parts(path, bytes).await?;
        } else {
            self.put_whole(path, bytes).await?;
        }
        failpoint::pass(failpoint::AFTER_PUT, path)
    }

    async fn put_whole(&self, path: &str, bytes: Bytes) -> Result<()> {
        let key = self.key(path)?;
        let deadline = Instant::now() + self.retry_timeout;
        let mut pause = LOST_PUT_PAUSE;
        loop {
            let create_only = self.create_only.load(Ordering::Relaxed);
            let mode = if create_only { PutMode::Create } else { PutMode::Overwrite };
            let options = PutOptions { mode, ..PutOptions::default() };
            let put = self.store.put_opts(&key, PutPayload::from(bytes.clone()), options);
            match self.bounded(path, put).await? {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { .. }) => return self.check_same(path, &key, &bytes).await,
                Err(error) if create_only && knows_no_create(&error) => {
                    tracing::warn!(%error, "the object store knows no conditional put, files are put without");
                    self.create_only.store(false, Ordering::Relaxed);
                }
                Err(error) if is_lost_answer(&error) && Instant::now() < deadline => {
                    sleep(up_to(pause)).await;
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
                Err(error) => return Err(put_error(path, error)),
            }
        }
    }

    /// Whether the file that was there already is the one to be put: by its size, since names never repeat.
    async fn check_same(&self, path: &str, key: &Path, bytes: &Bytes) -> Result<()> {
        let found = self.bounded(path, self.store.head(key)).await?.map_err(|error| read_error(path, error))?;
        if found.size == bytes.len() as u64 { Ok(()) } else { Err(Error::Exists { path: path.to_owned() }) }
    }

    /// Uploads a large file in parts, so that no single request is long. Atomic too, but replaces what is there.
    async fn put_parts(&self, path: &str, mut bytes: Bytes) -> Result<()> {
        let mut upload = PartsUpload::start(self, path, PARTS_IN_FLIGHT).await?;
        while !bytes.is_empty() {
            let part = bytes.split_to(PART_BYTES.min(bytes.len()));
            if let Err(error) = upload.put(part).await {
                upload.abort().await;
                return Err(error);
            }
        }
        upload.complete().await
    }

    /// See [`super::DataStore::create`].
    pub(super) async fn create(&self, path: &str) -> Result<ObjectWriter> {
        failpoint::pass(failpoint::BEFORE_PUT, path)?;
        self.check_absent(path).await?;
        Ok(ObjectWriter::new(self.clone(), path))
    }

    /// Fails if there is a file at `path`.
    async fn check_absent(&self, path: &str) -> Result<()> {
        match self.size(path).await {
            Ok(_) => Err(Error::Exists { path: path.to_owned() }),
            Err(Error::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The whole file, for stores in memory.
    pub(super) async fn read_whole(&self, path: &str, expected: &FileInfo) -> Result<Bytes> {
        let key = self.key(path)?;
        let failed = |error| read_error(path, error);
        let found = self.bounded(path, self.store.get(&key)).await?.map_err(failed)?;
        if found.meta.size != expected.size {
            return Err(wrong_size(path, found.meta.size, expected.size));
        }
        let bytes = self.bounded(path, found.bytes()).await?.map_err(failed)?;
        metrics::get(bytes.len());
        Ok(bytes)
    }

    /// The file's content in order, in parts that are downloaded ahead. Fails with [`Error::Corrupt`] if the file is not
    /// `size` bytes long.
    pub(super) fn download<'a>(&'a self, path: &'a str, size: u64) -> BoxStream<'a, Result<Bytes>> {
        if size == 0 {
            return stream::once(async move { self.check_empty(path).await }).boxed();
        }
        let ranges = (0..size).step_by(PART_BYTES).map(move |start| start..(start + PART_BYTES as u64).min(size));
        stream::iter(ranges).map(move |range| self.download_range(path, range, size)).buffered(PARTS_IN_FLIGHT).boxed()
    }

    async fn check_empty(&self, path: &str) -> Result<Bytes> {
        let found = self.size(path).await?;
        if found == 0 { Ok(Bytes::new()) } else { Err(wrong_size(path, found, 0)) }
    }

    async fn download_range(&self, path: &str, range: Range<u64>, size: u64) -> Result<Bytes> {
        let key = self.key(path)?;
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let wanted = range.end - range.start;
        let bytes = self.bounded(path, async {
            let found = self.store.get_opts(&key, options).await?;
            Ok((found.meta.size, found.bytes().await?))
        });
        match bytes.await? {
            Ok((found, _)) if found != size => Err(wrong_size(path, found, size)),
            Ok((_, bytes)) if bytes.len() as u64 != wanted => {
                Err(Error::corrupt(path, format!("truncated: {} of {wanted} bytes arrived", bytes.len())))
            }
            Ok((_, bytes)) => Ok(bytes),
            Err(error @ object_store::Error::NotFound { .. }) => Err(read_error(path, error)),
            // A range beyond the end of a truncated object is just another failure; its size tells.
            Err(error) => match self.size(path).await {
                Ok(found) if found != size => Err(wrong_size(path, found, size)),
                _ => Err(read_error(path, error)),
            },
        }
    }

    async fn size(&self, path: &str) -> Result<u64> {
        let key = self.key(path)?;
        let found = self.bounded(path, self.store.head(&key)).await?;
        Ok(found.map_err(|error| read_error(path, error))?.size)
    }

    /// See [`super::DataStore::read`].
    pub(super) async fn read(&self, path: &str, bytes_max: u64) -> Result<Option<Bytes>> {
        let key = self.key(path)?;
        let read = self.bounded(path, async {
            let found = self.store.get(&key).await?;
            if found.meta.size > bytes_max { Ok(None) } else { found.bytes().await.map(Some) }
        });
        match read.await? {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => Err(too_large(path, bytes_max)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(read_error(path, error)),
        }
    }

    pub(super) async fn delete(&self, path: &str) -> Result<()> {
        let key = self.key(path)?;
        match self.bounded(path, self.store.delete(&key)).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(read_error(path, error)),
        }
    }

    /// See [`super::DataStore::delete_all`].
    pub(super) async fn delete_all(&self, paths: &[String]) -> Result<()> {
        // By position: futures made by a closure over references could not move between threads.
        stream::iter((0..paths.len()).step_by(DELETES_PER_REQUEST))
            .map(|from| self.delete_together(&paths[from..paths.len().min(from + DELETES_PER_REQUEST)]))
            .buffer_unordered(DELETE_REQUESTS_IN_FLIGHT)
            .try_collect::<()>()
            .await
    }

    /// Deletes the files with one request.
    async fn delete_together(&self, paths: &[String]) -> Result<()> {
        let keys = paths.iter().map(|path| self.key(path)).collect::<Result<Vec<_>>>()?;
        let mut answers = self.store.delete_stream(stream::iter(keys.into_iter().map(Ok)).boxed());
        // They come in the order of the paths; a request that failed as a whole is told for the first.
        for path in paths {
            match self.bounded(path, answers.next()).await? {
                Some(Ok(_)) | Some(Err(object_store::Error::NotFound { .. })) => {}
                Some(Err(error)) => return Err(read_error(path, error)),
                None => return Err(Error::unavailable(path, "the store did not say whether it was deleted")),
            }
        }
        Ok(())
    }

    /// The folder at `prefix` and what to call it.
    fn folder<'a>(&'a self, prefix: &'a str) -> Result<(Path, &'a str)> {
        if prefix.is_empty() {
            return Ok((parse(self.prefix.trim_end_matches('/'), "")?, &self.description));
        }
        Ok((self.key(prefix)?, prefix))
    }

    /// See [`super::DataStore::folders`].
    pub(super) async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        let (folder, shown) = self.folder(prefix)?;
        let listed = self.store.list_with_delimiter(Some(&folder)).await.map_err(|error| read_error(shown, error))?;
        Ok(listed.common_prefixes.iter().filter_map(|found| found.filename().map(str::to_owned)).collect())
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ListedFile>> {
        let (folder, shown) = self.folder(prefix)?;
        let found = self.store.list(Some(&folder)).map_err(|error| read_error(shown, error));
        let listed = found.try_filter_map(|object| async move {
            let path = object.location.as_ref().strip_prefix(&self.prefix).map(str::to_owned);
            Ok(path.map(|path| ListedFile { path, size: object.size }))
        });
        listed.try_collect().await
    }

    /// Lists one object: works only if bucket and credentials are right.
    pub(super) async fn probe(&self) -> Result<()> {
        let (folder, _) = self.folder("")?;
        let mut objects = self.store.list(Some(&folder));
        match self.bounded(&self.description, objects.next()).await? {
            Some(Err(error)) => Err(put_error(&self.description, error)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    fn key(&self, path: &str) -> Result<Path> {
        parse(&format!("{}{path}", self.prefix), path)
    }

    /// Waits for one request with all its retries, but not for ever.
    async fn bounded<T>(&self, path: &str, request: impl Future<Output = T>) -> Result<T> {
        let longest = self.retry_timeout + BACKOFF_MAX + self.request_timeout;
        let gave_up = |_| Error::unavailable(path, format!("no answer within {} s", longest.as_secs_f32()));
        timeout(longest, request).await.map_err(gave_up)
    }
}

fn parse(key: &str, path: &str) -> Result<Path> {
    let reason = "not a valid object name";
    Path::parse(key).map_err(|_| Error::InvalidPath { path: path.to_owned(), reason })
}

/// Between half of `longest` and all of it, so that many clients do not come back in step.
fn up_to(longest: Duration) -> Duration {
    // A hasher's fresh random keys are all the randomness this needs.
    let random = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    longest / 2 + (longest / 2).mul_f64(random)
}

/// Whether the store says that it does not know conditional puts.
fn knows_no_create(error: &object_store::Error) -> bool {
    use object_store::Error::{NotImplemented, NotSupported};
    matches!(error, NotImplemented { .. } | NotSupported { .. }) || error.to_string().contains("501 Not Implemented")
}

/// Whether the request may have been done and only its answer was lost.
fn is_lost_answer(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(at) = cause {
        if at.is::<HttpError>() {
            return true;
        }
        cause = at.source();
    }
    false
}

/// Answers that say "denied" inside an error of no kind: as `object_store` wraps those to a listing, and those of S3 to credentials
/// that are over, or for another region, which have the status of a bad request.
const DENIED: [&str; 7] = [
    "status code: 401",
    "status code: 403",
    "NoSuchBucket",
    "<Code>ExpiredToken</Code>",
    "<Code>InvalidToken</Code>",
    "<Code>TokenRefreshRequired</Code>",
    "<Code>AuthorizationHeaderMalformed</Code>",
];

fn read_error(path: &str, error: object_store::Error) -> Error {
    use object_store::Error::{Generic, NotFound, PermissionDenied, Unauthenticated};
    let (path, text, cause) = (path.to_owned(), error.to_string(), cause_of(&error));
    match error {
        NotFound { .. } => Error::Missing { path },
        PermissionDenied { .. } | Unauthenticated { .. } => Error::Denied { path, cause },
        Generic { .. } if DENIED.iter().any(|denied| text.contains(denied)) => Error::Denied { path, cause },
        _ => Error::Unavailable { path, cause },
    }
}

/// As [`read_error`] for a put, where "not found" is the bucket.
fn put_error(path: &str, error: object_store::Error) -> Error {
    let cause = cause_of(&error);
    match error {
        object_store::Error::NotFound { .. } => Error::Denied { path: path.to_owned(), cause },
        object_store::Error::Generic { .. } if cause.contains("507 Insufficient Storage") => {
            Error::Full { path: path.to_owned(), cause }
        }
        other => read_error(path, other),
    }
}

fn cause_of(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    // What it ends in says most: that the time is up, or that nobody listens there.
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let last = cause.to_string();
    if !text.contains(&last) {
        text = format!("{text}: {last}");
    }
    text.truncate(text.floor_char_boundary(CAUSE_BYTES_MAX));
    text
}
