//! What survives a power failure, and what happens when a step fails.

mod pieces;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::*;

/// The real file system, remembering what was synced and failing where told.
#[derive(Debug, Default)]
struct WatchedDisk {
    synced: Mutex<Synced>,
    syncs: AtomicU64,
    /// The step that fails, and how.
    failing: Mutex<Option<(&'static str, ErrorKind)>>,
}

/// What a power failure leaves.
#[derive(Debug, Default)]
struct Synced {
    /// Content by inode.
    contents: HashMap<u64, Vec<u8>>,
    /// How often each directory was created: one removed and made again is another.
    generations: HashMap<PathBuf, u64>,
    /// Entries by directory and its generation.
    entries: HashMap<(PathBuf, u64), Vec<Entry>>,
}

#[derive(Debug, Clone)]
enum Entry {
    /// Path and generation.
    Dir(PathBuf, u64),
    /// Path and inode.
    File(PathBuf, u64),
}

impl WatchedDisk {
    fn check(&self, step: &'static str) -> io::Result<()> {
        match *self.failing.lock() {
            Some((failing, kind)) if failing == step => Err(kind.into()),
            _ => Ok(()),
        }
    }

    /// Writes into `target` only what was synced: the entries of synced directories, and files with the content they had
    /// when they were synced, empty otherwise.
    fn rebuild(&self, dir: &Path, target: &Path) {
        let synced = self.synced.lock();
        let mut dirs = vec![(dir.to_owned(), 0, target.to_owned())];
        while let Some((dir, generation, target)) = dirs.pop() {
            fs::create_dir_all(&target).unwrap();
            for entry in synced.entries.get(&(dir, generation)).into_iter().flatten().cloned() {
                let named = |path: &Path| target.join(path.file_name().unwrap());
                match entry {
                    Entry::Dir(path, generation) => dirs.push((path.clone(), generation, named(&path))),
                    Entry::File(path, inode) => {
                        fs::write(named(&path), synced.contents.get(&inode).cloned().unwrap_or_default()).unwrap();
                    }
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Watched(Arc<WatchedDisk>);

impl Disk for Watched {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.check("create_dir")?;
        let mut synced = self.0.synced.lock();
        RealDisk.create_dir(dir)?;
        *synced.generations.entry(dir.to_owned()).or_default() += 1;
        Ok(())
    }

    fn create_file(&self, file: &Path) -> io::Result<File> {
        self.0.check("create_file")?;
        RealDisk.create_file(file)
    }

    fn append(&self, file: &Path, opened: &File, bytes: &[u8]) -> io::Result<()> {
        // A part of it fits.
        RealDisk.append(file, opened, &bytes[..bytes.len() / 2])?;
        self.0.check("append")?;
        RealDisk.append(file, opened, &bytes[bytes.len() / 2..])
    }

    fn sync_file(&self, file: &Path, opened: &File) -> io::Result<()> {
        self.0.check("sync_file")?;
        self.0.syncs.fetch_add(1, Ordering::Relaxed);
        let (inode, content) = (opened.metadata()?.ino(), fs::read(file)?);
        self.0.synced.lock().contents.insert(inode, content);
        Ok(())
    }

    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        self.0.check("publish")?;
        RealDisk.publish(temporary, name)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.check("sync_dir")?;
        self.0.syncs.fetch_add(1, Ordering::Relaxed);
        // Locked first: of two syncs at a time the later listing must win.
        let mut synced = self.0.synced.lock();
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A neighbour's temporary file may vanish between the two calls.
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            entries.push(match metadata.is_dir() {
                true => Entry::Dir(path.clone(), synced.generations.get(&path).copied().unwrap_or_default()),
                false => Entry::File(path, metadata.ino()),
            });
        }
        let generation = synced.generations.get(dir).copied().unwrap_or_default();
        synced.entries.insert((dir.to_owned(), generation), entries);
        Ok(())
    }
}

/// The steps of a put.
const STEPS: [&str; 6] = ["create_dir", "create_file", "append", "sync_file", "publish", "sync_dir"];
/// How a step fails, and what is told of it.
const FAILURES: [(ErrorKind, &str); 3] = [
    (ErrorKind::Other, "storage unavailable"),
    (ErrorKind::StorageFull, "storage is full"),
    (ErrorKind::ReadOnlyFilesystem, "storage access denied"),
];

struct Setup {
    _dir: TempDir,
    base: PathBuf,
    disk: Arc<WatchedDisk>,
    store: LocalStore,
}

/// A store whose root and the directory above it are not there yet.
async fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_owned();
    let disk = Arc::new(WatchedDisk::default());
    let store = LocalStore::open_on(base.join("above/root"), Box::new(Watched(disk.clone()))).await.unwrap();
    Setup { _dir: dir, base, disk, store }
}

fn files(paths: &[&str]) -> Vec<(String, Bytes)> {
    paths.iter().map(|path| (path.to_string(), Bytes::from(format!("content of {path}")))).collect()
}

fn info(bytes: &Bytes) -> FileInfo {
    FileInfo { size: bytes.len() as u64, crc32: None }
}

/// Lets the power fail: opens all `files` in a store made only of what was synced.
async fn check_survives(setup: &Setup, files: &[(String, Bytes)]) {
    let target = tempfile::tempdir().unwrap();
    setup.disk.rebuild(&setup.base, target.path());
    let store = LocalStore::open(target.path().join("above/root")).await.unwrap();
    for (path, bytes) in files {
        assert_eq!(store.open_file(path, &info(bytes)).await.as_ref(), Ok(bytes), "{path}");
    }
}

#[tokio::test]
async fn what_was_put_survives_a_power_failure() {
    let setup = setup().await;
    let puts = [
        files(&["u/c/data/f1/a", "u/c/data/f1/b", "u/c/data/f2/a"]),
        files(&["u/c/data/f3/a"]),
        files(&["u/d/data/f4/a", "top"]),
        vec![("u/c/data/f1/large".to_owned(), Bytes::from(vec![7; 100_000])), ("empty".to_owned(), Bytes::new())],
    ];
    let mut all = Vec::new();
    for put in puts {
        setup.store.put_all(put.clone()).await.unwrap();
        all.extend(put);
        check_survives(&setup, &all).await;
    }
}

#[tokio::test]
async fn puts_at_the_same_time_in_the_same_new_directory_survive() {
    let setup = setup().await;
    let puts: Vec<_> =
        (0..20).map(|i| vec![(format!("u/c/data/f{}/{i}", i % 3), Bytes::from(format!("{i}")))]).collect();
    let put_and_check = |put: Vec<(String, Bytes)>| {
        let setup = &setup;
        async move {
            setup.store.put_all(put.clone()).await.unwrap();
            check_survives(setup, &put).await;
        }
    };
    futures::future::join_all(puts.into_iter().map(put_and_check)).await;
}

#[tokio::test]
async fn a_directory_removed_and_made_again_is_synced_again() {
    let setup = setup().await;
    setup.store.put_all(files(&["u/c/data/f1/a"])).await.unwrap();
    setup.store.delete("u/c/data/f1/a").await.unwrap();
    assert!(!setup.base.join("above/root/u").exists(), "empty directories go");
    assert!(setup.base.join("above/root").exists());
    let again = files(&["u/c/data/f1/b"]);
    setup.store.put_all(again.clone()).await.unwrap();
    check_survives(&setup, &again).await;
}

#[tokio::test]
async fn a_put_costs_one_sync_a_file_and_one_a_directory_that_gained_an_entry() {
    let setup = setup().await;
    let mut before = setup.disk.syncs.load(Ordering::Relaxed);
    let cases: [(&[&str], u64); 4] = [
        // Three files; then f1, data, c, u and the root.
        (&["u/c/data/f1/a", "u/c/data/f1/b", "u/c/data/f1/c"], 3 + 5),
        // One file; then f2 and data.
        (&["u/c/data/f2/a"], 1 + 2),
        (&["u/c/data/f2/b"], 1 + 1),
        (&["u/d/data/f3/a"], 1 + 4),
    ];
    for (paths, want) in cases {
        setup.store.put_all(files(paths)).await.unwrap();
        let now = setup.disk.syncs.load(Ordering::Relaxed);
        assert_eq!(now - before, want, "{paths:?}");
        before = now;
    }
}

#[tokio::test]
async fn a_failed_step_fails_the_put_and_the_next_try_succeeds() {
    for step in STEPS {
        for (kind, want) in FAILURES {
            let setup = setup().await;
            *setup.disk.failing.lock() = Some((step, kind));
            let put = files(&["u/c/data/f1/a", "u/c/data/f1/b"]);
            let error = setup.store.put_all(put.clone()).await.unwrap_err();
            assert!(error.to_string().starts_with(want), "{step} {kind}: {error}");
            let left = setup.store.list("").await.unwrap();
            assert!(!left.iter().any(|file| file.path.ends_with(".tmp")), "{step} {kind} left {left:?}");
            assert!(kind != ErrorKind::StorageFull || left.is_empty(), "{step} left {left:?} on a full disk");
            *setup.disk.failing.lock() = None;
            setup.store.put_all(put.clone()).await.unwrap();
            check_survives(&setup, &put).await;
        }
    }
}

#[tokio::test]
async fn a_name_is_never_replaced() {
    let setup = setup().await;
    let first = files(&["f/a"]);
    setup.store.put_all(first.clone()).await.unwrap();
    setup.store.put_all(first.clone()).await.unwrap();
    let other = vec![("f/a".to_owned(), Bytes::from_static(b"xontent of f/a"))];
    let error = setup.store.put_all(other).await.unwrap_err();
    assert_eq!(error, Error::Exists { path: "f/a".to_owned() });
    check_survives(&setup, &first).await;
    let listed: BTreeMap<_, _> =
        setup.store.list("").await.unwrap().into_iter().map(|file| (file.path, file.size)).collect();
    assert_eq!(listed, BTreeMap::from([("f/a".to_owned(), 14)]), "no temporary file is left");
}

#[tokio::test]
async fn temporary_names_left_by_a_crash_are_passed_over() {
    let setup = setup().await;
    let root = setup.store.root().to_owned();
    fs::create_dir(root.join("f")).unwrap();
    for number in 0..5 {
        fs::write(root.join(format!("f/a.{}-{number}.tmp", std::process::id())), b"half").unwrap();
    }
    let put = files(&["f/a"]);
    setup.store.put_all(put.clone()).await.unwrap();
    check_survives(&setup, &put).await;
}

#[tokio::test]
async fn a_mapped_file_outlives_its_deletion() {
    let setup = setup().await;
    let put = vec![("f/a".to_owned(), Bytes::from(vec![9; 1 << 20]))];
    setup.store.put_all(put.clone()).await.unwrap();
    let opened = setup.store.open_file("f/a", &info(&put[0].1)).await.unwrap();
    setup.store.delete("f/a").await.unwrap();
    assert_eq!(opened, put[0].1);
    let error = setup.store.open_file("f/a", &info(&put[0].1)).await.unwrap_err();
    assert_eq!(error, Error::Missing { path: "f/a".to_owned() });
}

#[tokio::test]
async fn the_probe_sees_a_directory_that_cannot_be_written() {
    let setup = setup().await;
    setup.store.probe().await.unwrap();
    assert_eq!(setup.store.list("").await.unwrap(), vec![]);
    *setup.disk.failing.lock() = Some(("create_file", ErrorKind::ReadOnlyFilesystem));
    assert!(matches!(setup.store.probe().await, Err(Error::Denied { .. })));
}
