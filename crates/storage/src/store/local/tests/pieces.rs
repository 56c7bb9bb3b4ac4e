//! Files written piece by piece: the same as of files put, and what is left of one that was given up.

use super::*;

fn piece(number: u8) -> Bytes {
    Bytes::from(vec![number; 10_000])
}

/// Writes the file at `path` of three pieces.
async fn write(store: &LocalStore, path: &str) -> Result<(String, Bytes)> {
    let mut writer = store.create(path).await?;
    for number in 0..3 {
        writer.write(piece(number)).await?;
    }
    writer.finish().await?;
    Ok((path.to_owned(), [piece(0), piece(1), piece(2)].concat().into()))
}

/// The names below the root, folders included, that a power failure leaves.
fn surviving(setup: &Setup) -> Vec<PathBuf> {
    let target = tempfile::tempdir().unwrap();
    setup.disk.rebuild(&setup.base, target.path());
    let (root, mut found, mut dirs) = (target.path().join("above/root"), Vec::new(), vec![]);
    dirs.push(root.clone());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(&root).unwrap().to_owned());
            dirs.extend(path.is_dir().then_some(path));
        }
    }
    found
}

#[tokio::test]
async fn what_was_finished_survives_a_power_failure() {
    let setup = setup().await;
    let mut all = Vec::new();
    for path in ["u/c/data/f1/a", "u/c/data/f1/b", "u/c/data/f2/a", "top"] {
        all.push(write(&setup.store, path).await.unwrap());
        check_survives(&setup, &all).await;
    }
    let empty = setup.store.create("u/empty").await.unwrap();
    empty.finish().await.unwrap();
    all.push(("u/empty".to_owned(), Bytes::new()));
    check_survives(&setup, &all).await;
}

#[tokio::test]
async fn files_written_and_put_at_the_same_time_in_the_same_new_directory_survive() {
    let setup = setup().await;
    let mut writer = setup.store.create("u/c/data/f1/a").await.unwrap();
    writer.write(piece(1)).await.unwrap();
    let mut all = files(&["u/c/data/f1/b"]);
    setup.store.put_all(all.clone()).await.unwrap();
    check_survives(&setup, &all).await;
    // The directory of the file that is being written becomes empty but for it, and must stay.
    setup.store.delete("u/c/data/f1/b").await.unwrap();
    writer.write(piece(2)).await.unwrap();
    writer.finish().await.unwrap();
    all = vec![("u/c/data/f1/a".to_owned(), [piece(1), piece(2)].concat().into())];
    check_survives(&setup, &all).await;
    let writes = (0..20).map(|i| {
        let setup = &setup;
        async move {
            let written = write(&setup.store, &format!("u/d/data/f{}/{i}", i % 3)).await.unwrap();
            check_survives(setup, &[written]).await;
        }
    });
    futures::future::join_all(writes).await;
}

#[tokio::test]
async fn nothing_is_under_the_name_before_the_end() {
    let setup = setup().await;
    let mut writer = setup.store.create("u/f/a").await.unwrap();
    for number in 0..3 {
        writer.write(piece(number)).await.unwrap();
        assert!(!setup.store.root().join("u/f/a").exists());
        assert!(surviving(&setup).is_empty());
    }
    let left = setup.store.list("").await.unwrap();
    assert!(left.len() == 1 && left[0].path.starts_with("u/f/a.") && left[0].path.ends_with(".tmp"), "{left:?}");
    assert_eq!(left[0].size, 30_000, "pieces are not held back");
}

#[tokio::test]
async fn a_file_given_up_leaves_nothing() {
    let setup = setup().await;
    let root = setup.store.root().to_owned();
    for by_drop in [true, false] {
        let mut writer = setup.store.create("u/f/a").await.unwrap();
        writer.write(piece(1)).await.unwrap();
        if by_drop {
            drop(writer);
        } else {
            writer.abort().await;
        }
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "neither file nor folders");
    }
    let written = write(&setup.store, "u/f/a").await.unwrap();
    check_survives(&setup, &[written]).await;
}

#[tokio::test]
async fn a_write_given_up_half_way_gives_the_file_up() {
    let setup = setup().await;
    let mut writer = setup.store.create("u/f/a").await.unwrap();
    {
        let mut write = Box::pin(writer.write(piece(1)));
        let _ = futures::poll!(&mut write);
    }
    if writer.write(piece(2)).await.is_ok() {
        // The first was done before it could be given up.
        return;
    }
    let error = writer.finish().await.unwrap_err();
    assert!(matches!(error, Error::Misuse { .. }), "{error}");
    // The thread that was writing removes the file as soon as it is done.
    while !setup.store.list("").await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_file_costs_the_syncs_of_one_put() {
    let setup = setup().await;
    let mut before = setup.disk.syncs.load(Ordering::Relaxed);
    // The file and the directories that gain an entry.
    for (path, want) in [("u/c/data/f1/a", 1 + 5), ("u/c/data/f2/a", 1 + 2), ("u/c/data/f2/b", 1 + 1)] {
        write(&setup.store, path).await.unwrap();
        let now = setup.disk.syncs.load(Ordering::Relaxed);
        assert_eq!(now - before, want, "{path}");
        before = now;
    }
}

#[tokio::test]
async fn a_failed_step_fails_the_file_and_the_next_one_succeeds() {
    for step in STEPS {
        for (kind, want) in FAILURES {
            let setup = setup().await;
            *setup.disk.failing.lock() = Some((step, kind));
            let error = write(&setup.store, "u/c/data/f1/a").await.unwrap_err();
            assert!(error.to_string().starts_with(want), "{step} {kind}: {error}");
            let left = setup.store.list("").await.unwrap();
            let named = step == "sync_dir" && kind != ErrorKind::StorageFull;
            assert_eq!(left.len(), usize::from(named), "{step} {kind} left {left:?}");
            *setup.disk.failing.lock() = None;
            let written = write(&setup.store, "u/c/data/f1/b").await.unwrap();
            check_survives(&setup, &[written]).await;
        }
    }
}

#[tokio::test]
async fn a_name_that_is_taken_meanwhile_is_not_replaced() {
    let setup = setup().await;
    let mut writer = setup.store.create("f/a").await.unwrap();
    let first = files(&["f/a"]);
    setup.store.put_all(first.clone()).await.unwrap();
    // Even the same content is no answer that was lost.
    writer.write(first[0].1.clone()).await.unwrap();
    let exists = Error::Exists { path: "f/a".to_owned() };
    assert_eq!(writer.finish().await, Err(exists.clone()));
    assert_eq!(setup.store.create("f/a").await.unwrap_err(), exists);
    check_survives(&setup, &first).await;
    assert_eq!(setup.store.list("").await.unwrap().len(), 1, "no temporary file is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_that_come_and_go_are_not_in_the_way() {
    let setup = setup().await;
    let files = (0..200).map(|i| {
        let store = setup.store.clone();
        tokio::spawn(async move {
            // Each removes the folders when they become empty.
            let path = format!("u/c/data/f/{i}");
            if i % 2 == 0 {
                store.create(&path).await?.abort().await;
                return Ok(());
            }
            write(&store, &path).await?;
            store.delete(&path).await
        })
    });
    for ended in futures::future::join_all(files).await {
        assert_eq!(ended.unwrap(), Ok(()));
    }
    assert_eq!(setup.store.list("").await.unwrap(), vec![]);
}

#[tokio::test]
async fn folders_are_those_directly_below() {
    let setup = setup().await;
    setup.store.put_all(files(&["u/c/data/a", "u/d", "v/e/f"])).await.unwrap();
    fs::create_dir(setup.store.root().join("u/left by a crash")).unwrap();
    for (prefix, want) in [("", &["u", "v"][..]), ("u", &["c", "left by a crash"]), ("u/d", &[]), ("none/x", &[])] {
        let mut found = setup.store.folders(prefix).await.unwrap();
        found.sort();
        assert_eq!(found, want, "{prefix:?}");
    }
}
