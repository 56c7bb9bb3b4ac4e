//! What the machine can do without a database: the measures that figures are held against.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::usage::own_thread_cpu;

/// Memory to read.
#[derive(Debug)]
pub struct PlainRead {
    bytes: Vec<u8>,
}

impl PlainRead {
    /// `size` bytes of memory, all of it touched.
    pub fn of(size: usize) -> Self {
        Self { bytes: vec![0x5a; size] }
    }

    /// Reads all of it once in one thread; the CPU time of that.
    ///
    /// It compares one half with the other. That reads every byte and does nothing else, and it is the C library's work,
    /// in the widest instructions the processor has; a loop compiled for any processor would be slower than the memory.
    pub fn once(&self) -> Result<Duration> {
        let (left, right) = std::hint::black_box(&self.bytes).split_at(self.bytes.len() / 2);
        let started = own_thread_cpu()?;
        let same = std::hint::black_box(left == right);
        let cpu = own_thread_cpu()?.saturating_sub(started);
        ensure!(same, "memory that nobody wrote to has changed");
        Ok(cpu)
    }
}

/// A file the server wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WrittenFile {
    /// Relative to its data.
    pub path: String,
    /// In bytes.
    pub size: u64,
}

/// Writes and syncs the same files again in `folder`, one after the other and then their directories, and one small
/// append in place of the metadata store's: the time on the wall that the disk alone asks for.
pub fn write_and_sync(folder: &Path, files: &[WrittenFile]) -> Result<Duration> {
    let contents: Vec<Vec<u8>> = files.iter().map(|file| vec![0x5a; file.size as usize]).collect();
    let mut log = File::options().create(true).append(true).open(folder.join("log")).context("open a file")?;
    log.sync_all()?;
    let started = Instant::now();
    let mut dirs = Vec::new();
    for (file, content) in files.iter().zip(&contents) {
        let path = folder.join(&file.path);
        let dir = path.parent().context("a file without directory")?.to_owned();
        if !dirs.contains(&dir) {
            // The new directory's own entry has to be durable, too.
            dirs.extend(dir.parent().filter(|_| !dir.exists()).map(Path::to_owned));
            fs::create_dir_all(&dir)?;
            dirs.push(dir);
        }
        let mut file = File::create(&path)?;
        file.write_all(content)?;
        file.sync_all()?;
    }
    dirs.sort();
    dirs.dedup();
    for dir in dirs {
        File::open(dir)?.sync_all()?;
    }
    log.write_all(&[0x5a; 4096])?;
    log.sync_data()?;
    Ok(started.elapsed())
}

/// All files below `folder`, sorted.
pub fn files_below(folder: &Path) -> Result<Vec<WrittenFile>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("list {}", next.display()))? {
            let entry = entry?;
            let (path, metadata) = (entry.path(), entry.metadata()?);
            if metadata.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                found.push(WrittenFile { path, size: metadata.len() });
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{PlainRead, WrittenFile, files_below, write_and_sync};

    #[test]
    fn reading_takes_time() {
        assert!(!PlainRead::of(8 << 20).once().unwrap().is_zero());
    }

    #[test]
    fn the_same_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = |path: &str, size| WrittenFile { path: path.into(), size };
        let files = [file("a/b/x", 10), file("a/b/y", 5000), file("a/c/z", 0)];
        write_and_sync(folder.path(), &files).unwrap();
        let mut expected = files.to_vec();
        expected.push(file("log", 4096));
        assert_eq!(files_below(folder.path()).unwrap(), expected);
    }
}
