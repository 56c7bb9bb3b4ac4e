//! Doing something that stops, fails, dies, goes on or arrives late at any step, and what may come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use redkite_jobs::collect::{collect, sweep};
use redkite_jobs::merge::merge_next;
use redkite_jobs::{CollectOptions, Eagerness, MergeOptions, Next, Pool, Scope, Wanted};
use redkite_table::Visibility;
use redkite_table::ddl::NewCollection;
use redkite_types::{ErrorKind, Revision};

use super::chronicle::Content;
use super::{Ended, History, Late, NAMES, Op, Running, Seat, Work, ingest_options};
use crate::faulty_meta::{Call, Fault, FaultyMeta};
use crate::plain::Write;
use crate::work::id_of;
use crate::world::{Client, Node, schema_of_two_vectors};

impl History {
    /// Runs an operation that neither stops nor fails.
    pub(super) async fn run_whole(&mut self, at: usize, op: Op) {
        self.start(at, op, None, None, false).await;
    }

    /// Runs an operation that neither stops nor fails, after all nodes told what they need.
    async fn run_told(&mut self, at: usize, op: Op) {
        self.tell_all().await;
        self.run_whole(at, op).await;
    }

    /// Runs an operation that may stop before any of its calls, and whose commit may go wrong.
    pub(super) async fn begin(&mut self, at: usize, op: Op) {
        let stop = self.chance(0.35).then(|| 1 + self.below(14));
        let faults = [Fault::AnswerLost, Fault::NeverSent, Fault::Late, Fault::Refused];
        let fault = self.chance(0.2).then(|| faults[self.below(4)]);
        // All that is late of one node would land together.
        let meta = &self.seats[at].node.meta;
        let is_late = self.late.iter().any(|late| Arc::ptr_eq(&late.meta, meta));
        let fault = fault.filter(|fault| *fault != Fault::Late || !is_late);
        let settle_fails = fault.is_some() && self.chance(0.4);
        self.start(at, op, stop, fault, settle_fails).await;
    }

    pub(super) async fn start(
        &mut self,
        at: usize,
        op: Op,
        stop: Option<usize>,
        fault: Option<Fault>,
        settle_fails: bool,
    ) {
        self.log.push(format!("{at} {op:?} stop {stop:?} fault {fault:?} settle fails {settle_fails}"));
        let node = self.seats[at].node.clone();
        if let Op::Collect(_) = op {
            // What another one has done that has not ended yet is not taken for this one's.
            self.check_horizon().await;
            self.named_before.extend(self.named().await);
        }
        let began = self.head().await;
        let client = match &op {
            Op::Flush(writes) => {
                let client = node.client();
                for (name, _, write) in writes {
                    client.write(name, write).await.unwrap();
                }
                Some(client)
            }
            _ => None,
        };
        let work = Work { op, began, began_ms: self.now_ms(), fault, lapsed: false, committed: None };
        if let Some(fault) = fault {
            match work.op {
                Op::Collect(_) => node.meta.fail_next_put("/.horizon", fault),
                _ => node.meta.fail_next(Call::Commit, fault),
            }
            if settle_fails {
                node.meta.fail_always(Call::Settle, Fault::Refused);
            }
            if fault == Fault::Late {
                self.late.push(Late { meta: node.meta.clone(), work: work.clone(), open: true });
            }
        }
        if let Some(stop) = stop {
            node.meta.stop_before(stop);
        }
        let before = self.head().await;
        let task = tokio::spawn(run(node.clone(), client.clone(), work.op.clone()));
        let running = Running { work, client, task, settle_fails, stopped: false, meta: node.meta.clone() };
        self.go_on(at, running, before).await;
    }

    /// A stopped operation goes on; it may stop again.
    pub(super) async fn resume(&mut self, at: usize) {
        self.log.push(format!("{at} resumed"));
        let Some(running) = self.seats[at].running.take() else { return };
        let before = self.head().await;
        let meta = &running.meta;
        if self.chance(0.2) {
            meta.stop_before(1 + self.below(6));
        }
        meta.resume();
        self.go_on(at, running, before).await;
    }

    /// Waits until the operation stops or ends.
    pub(super) async fn go_on(&mut self, at: usize, mut running: Running, before: Revision) {
        let meta = running.meta.clone();
        let ended = tokio::select! {
            biased;
            () = meta.stopped() => None,
            ended = &mut running.task => Some(ended.unwrap()),
        };
        meta.stop_never();
        self.note(before, &mut running.work).await;
        if let Some(ended) = ended {
            meta.recover();
            return self.judge(at, running, ended).await;
        }
        self.log.push(format!("{at} stopped"));
        running.stopped = true;
        self.seats[at].running = Some(running);
        match self.below(100) {
            0..35 => self.crash(at).await,
            35..45 => {
                self.advance(true).await;
                Box::pin(self.meanwhile(at)).await;
            }
            45..85 => Box::pin(self.meanwhile(at)).await,
            _ => {}
        }
    }

    /// While something has stopped, another node does what could be in its way; then it goes on, perhaps.
    async fn meanwhile(&mut self, at: usize) {
        let free: Vec<usize> = (0..self.seats.len()).filter(|other| self.seats[*other].is_free()).collect();
        let Some(other) = free.get(self.below(free.len().max(1))).copied() else { return };
        let Some(stopped) = self.seats[at].running.as_ref().map(|running| running.work.op.clone()) else { return };
        let name = match &stopped {
            Op::Flush(writes) => writes[0].0,
            Op::Merge(name, ..) | Op::Create(name) | Op::Drop(name) | Op::Alter(name, _) => *name,
            Op::Collect(_) | Op::Sweep => NAMES[0],
        };
        let lapsed = self.seats[at].lapsed;
        let steps = self.below(4);
        for last in [false, true] {
            if !last && steps < 2 {
                continue;
            }
            let exists = self.chronicle.newest().contains_key(name);
            match (&stopped, last) {
                _ if steps == 0 || !exists => {
                    let op = self.any_op(other).await;
                    self.run_whole(other, op).await;
                }
                (Op::Flush(_) | Op::Merge(..), true) if lapsed => self.run_told(other, Op::Sweep).await,
                (Op::Flush(_), true) => {
                    let id = id_of(&self.seats[other].node, name).await.unwrap();
                    self.run_told(other, Op::Merge(name, id, Eagerness::All)).await;
                }
                (Op::Collect(_), true) => self.read_past(other).await,
                _ => {
                    let write = self.any_write(&[name]);
                    self.run_whole(other, Op::Flush(vec![write])).await;
                }
            }
        }
        if self.chance(0.75) {
            self.resume(at).await;
        }
    }

    /// Notes what the work did, if the head has moved since.
    pub(super) async fn note(&mut self, before: Revision, work: &mut Work) {
        let head = self.head().await;
        if head == before {
            return;
        }
        self.log.push(format!("committed at {head}"));
        assert_eq!(work.committed, None, "{:?} was committed twice, the second time at {head}", work.op);
        work.committed = Some(head);
        match &work.op {
            Op::Flush(_) => self.unmerged += 1,
            Op::Merge(..) => self.unmerged = 0,
            _ => {}
        }
        self.is_garbage_left |= !matches!(work.op, Op::Create(_));
        let mut state = self.chronicle.newest().clone();
        match &work.op {
            Op::Flush(writes) => {
                for (name, generation, write) in writes {
                    let content = state.get_mut(name).unwrap();
                    assert_eq!(content.generation, *generation, "written into another collection of the name");
                    content.rows.apply(write);
                    if let Write::Insert(rows) | Write::Upsert(rows) = write {
                        self.spans.extend(rows.iter().map(|(_, tag)| (*tag, (work.began, head))));
                    }
                }
            }
            Op::Create(name) => {
                self.next_generation += 1;
                let content = Content { generation: self.next_generation, ..Content::default() };
                assert_eq!(state.insert(name, content), None);
            }
            Op::Drop(name) => assert!(state.remove(name).is_some()),
            Op::Alter(name, color) => state.get_mut(name).unwrap().color = Some(color.clone()),
            Op::Merge(name, ..) => assert!(state.contains_key(name)),
            Op::Collect(_) | Op::Sweep => panic!("collecting commits nothing"),
        }
        self.chronicle.add(head, work.began_ms, self.now_ms(), state);
    }

    /// What an operation answered has to fit what it did.
    pub(super) async fn judge(&mut self, at: usize, running: Running, ended: Ended) {
        self.log.push(format!("{at} ended {ended:?}"));
        let Running { mut work, client, settle_fails, stopped, meta, .. } = running;
        let fault = work.fault;
        work.lapsed = std::mem::take(&mut self.seats[at].lapsed);
        let lapsed = work.lapsed;
        let committed = work.committed;
        let mut open = false;
        if lapsed {
            self.count(if committed.is_some() {
                "commits of nodes taken for dead"
            } else {
                "ends of nodes taken for dead"
            });
        }
        // What the metadata store was told to do, and what may come of reading files that are gone.
        let excused = |kind: ErrorKind| {
            committed.is_none() && (lapsed || (fault == Some(Fault::Refused) && kind == ErrorKind::Unavailable))
        };
        // Nothing may rest on a change whose outcome is open, and asking for that failed.
        let waits = |said: &str| settle_fails && committed.is_none() && said.contains("an earlier change");
        match (&work.op, ended) {
            (Op::Flush(_), Ended::Flushed(Ok(flushed))) => assert_eq!(committed, Some(flushed.revision)),
            (Op::Flush(writes), Ended::Flushed(Err(redkite_ingest::Error::CollectionDropped { .. }))) => {
                assert_eq!(committed, None);
                let now = self.chronicle.newest();
                let gone = |(name, generation, _): &(&'static str, u32, Write)| {
                    now.get(name).is_none_or(|content| content.generation != *generation)
                };
                assert!(writes.iter().any(gone), "no collection of the flush was dropped");
                self.count("flushes into what was dropped");
            }
            (Op::Flush(_), Ended::Flushed(Err(redkite_ingest::Error::OutcomeUnknown { .. }))) => {
                assert!(settle_fails);
                open = true;
            }
            (Op::Flush(_), Ended::Flushed(Err(error))) => {
                assert!(waits(&error.to_string()) || excused(error.kind()), "{error}");
            }
            (Op::Create(_) | Op::Drop(_) | Op::Alter(..), Ended::Changed(Ok(()))) => {
                assert!(committed.is_some() || stopped, "nothing was changed");
            }
            (Op::Create(_) | Op::Drop(_) | Op::Alter(..), Ended::Changed(Err(error))) => match error.kind() {
                ErrorKind::Exists | ErrorKind::NotFound => assert!(stopped && committed.is_none(), "{error}"),
                ErrorKind::Unknown => open = settle_fails,
                kind => assert!(excused(kind), "{error}"),
            },
            (Op::Merge(..), Ended::Merged(Ok(report))) => {
                assert_eq!(committed, report.as_ref().map(|report| report.revision));
                if report.is_some() {
                    self.count("merges");
                }
                if stopped && report.is_some() {
                    self.count("merges that went on later");
                }
            }
            (Op::Merge(..), Ended::Merged(Err(redkite_jobs::Error::Table(error)))) => match error.kind() {
                ErrorKind::Unknown => open = settle_fails,
                kind => assert!(waits(&error.to_string()) || excused(kind), "{error}"),
            },
            (Op::Collect(retention), Ended::Collected(Ok(report))) => {
                self.counted("files collected", report.files);
                self.is_garbage_left = false;
                let before = self.horizon;
                self.check_horizon().await;
                if self.horizon != before {
                    self.count("risen horizons");
                    let kept_ms = self.now_ms() - self.horizon.time_ms;
                    assert!(stopped || Duration::from_millis(kept_ms) >= *retention, "dropped {kept_ms} ms ago");
                }
                self.count_pins(at).await;
            }
            (Op::Sweep, Ended::Collected(Ok(report))) => {
                self.counted("files swept", report.files);
            }
            (_, Ended::Collected(Err(error))) => {
                let refused = fault == Some(Fault::Refused) && error.to_string().contains("told to");
                assert!(lapsed || refused, "{error}");
            }
            (op, ended) => panic!("{op:?} {ended:?}"),
        }
        self.open(&meta, &work, open);
        let Some(client) = client else { return };
        if open {
            self.seats[at].frozen = Some((client, work));
        } else {
            client.disconnect();
        }
    }

    /// The client of a flush whose outcome is open asks for it, by flushing again.
    pub(super) async fn ask_again(&mut self, at: usize) {
        let Some((client, mut work)) = self.seats[at].frozen.take() else { return };
        let before = self.head().await;
        let flushed = client.try_flush().await;
        self.note(before, &mut work).await;
        self.log.push(format!("{at} asked again: {flushed:?}"));
        match flushed {
            // Told by the outcome alone, it is visible from some earlier revision on.
            Ok(flushed) => assert!(work.committed.is_some_and(|committed| committed <= flushed.revision)),
            Err(redkite_ingest::Error::CollectionDropped { .. }) => assert_eq!(work.committed, None),
            Err(error) => assert!(work.lapsed && work.committed.is_none(), "{error}"),
        }
        self.count("outcomes learnt later");
        let meta = self.seats[at].node.meta.clone();
        self.open(&meta, &work, false);
        client.disconnect();
    }

    /// If what the work sent is late: whether it may still happen.
    fn open(&mut self, meta: &Arc<FaultyMeta>, work: &Work, open: bool) {
        let of_it = |late: &&mut Late| work.fault == Some(Fault::Late) && Arc::ptr_eq(&late.meta, meta);
        self.late.iter_mut().filter(of_it).for_each(|late| late.open = open);
    }

    /// The node dies with all it holds; another one of its number starts.
    pub(super) async fn crash(&mut self, at: usize) {
        let before = self.head().await;
        let mut was_removing = false;
        self.seats[at].node.meta.die();
        if let Some(running) = self.seats[at].running.take() {
            // What it ends with reaches nobody. Whatever it still does, it does to files alone.
            let _ = running.task.await;
            was_removing = matches!(running.work.op, Op::Collect(_));
            self.open(&running.meta, &running.work, true);
            self.count(match running.work.op {
                Op::Flush(_) => "crashes in a flush",
                Op::Merge(..) => "crashes in a merge",
                Op::Collect(_) | Op::Sweep => "crashes in a collection",
                Op::Create(_) | Op::Drop(_) | Op::Alter(..) => "crashes in a change",
            });
        }
        assert_eq!(self.head().await, before, "a dead node committed");
        self.catalogs.retain(|(holder, _)| *holder != at);
        self.pasts.retain(|(holder, ..)| *holder != at);
        let options = ingest_options(&mut self.random.rng);
        let node = self.stores.node_with(at as u32, options).await;
        self.seats[at] = Seat { node, running: None, frozen: None, lapsed: false };
        self.check_horizon().await;
        if was_removing {
            self.remove_some_garbage().await;
        }
    }

    /// As a collector does that dies while it removes files: some of what lies behind the horizon goes.
    pub(super) async fn remove_some_garbage(&mut self) {
        let node = self.seats[0].node.clone();
        let catalog = node.database.snapshot(Visibility::Strong).await.unwrap();
        let horizon = node.database.horizon().await.unwrap().revision;
        let mut folders = BTreeSet::new();
        for grave in catalog.graves.entries().filter(|grave| grave.dropped <= horizon) {
            folders.extend(grave.fragment.map(|id| node.database.object_path(&grave.segment, &id.to_string())));
        }
        for dropped in catalog.graves.collections().filter(|dropped| dropped.dropped <= horizon) {
            let collection = catalog.segment(&dropped.tombstone.segment);
            let fragments = collection.into_iter().flat_map(|collection| collection.fragments.keys());
            let segment = &dropped.tombstone.segment;
            folders.extend(fragments.map(|id| node.database.object_path(segment, &id.to_string())));
        }
        for folder in folders {
            for file in self.stores.data.list(&folder).await.unwrap() {
                if self.chance(0.5) {
                    self.stores.data.delete(&file.path).await.unwrap();
                    self.count("files of a collector that died");
                }
            }
        }
    }

    /// One of the transactions on their way arrives.
    pub(super) async fn land(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let at = self.below(self.late.len());
        let mut late = self.late.swap_remove(at);
        let before = self.head().await;
        let landed = late.meta.land().await;
        let same =
            |running: &Running| running.work.fault == Some(Fault::Late) && Arc::ptr_eq(&running.meta, &late.meta);
        if landed.is_empty() && self.seats.iter().any(|seat| seat.running.as_ref().is_some_and(same)) {
            // It has stopped before it was sent.
            return self.late.push(late);
        }
        self.log.push(format!("landed {landed:?}: {:?}", late.work.op));
        self.note(before, &mut late.work).await;
        self.check_horizon().await;
        if landed.contains(&true) {
            let risen = matches!(late.work.op, Op::Collect(_));
            self.count(if risen { "horizons that rose late" } else { "commits that landed late" });
        }
        let Some(committed) = late.work.committed else { return };
        assert!(late.open, "it had been settled");
        // Whoever still waits for it learns that later.
        for seat in self.seats.iter_mut().filter(|seat| Arc::ptr_eq(&seat.node.meta, &late.meta)) {
            let waiting = seat.running.iter_mut().map(|running| &mut running.work);
            let waiting = waiting.chain(seat.frozen.iter_mut().map(|(_, work)| work));
            for work in waiting.filter(|work| work.fault == Some(Fault::Late)) {
                assert_eq!(work.committed.replace(committed), None);
            }
        }
    }
}

async fn run(node: Node, client: Option<Client>, op: Op) -> Ended {
    let database = &node.database;
    match (op, client) {
        (Op::Flush(_), Some(client)) => Ended::Flushed(client.try_flush().await),
        (Op::Flush(_), None) => panic!("a flush without a client"),
        (Op::Create(name), _) => {
            let new = NewCollection {
                name: name.to_owned(),
                schema: schema_of_two_vectors(),
                properties: BTreeMap::new(),
                consistency_level: 0,
                shards: 1,
            };
            Ended::Changed(database.create_collection(new).await.map(drop))
        }
        (Op::Drop(name), _) => Ended::Changed(database.drop_collection(name).await.map(drop)),
        (Op::Alter(name, color), _) => {
            let set = BTreeMap::from([("color".to_owned(), color)]);
            Ended::Changed(database.alter_properties(name, &set, &[]).await.map(drop))
        }
        (Op::Merge(_, id, eagerness), _) => {
            let options = MergeOptions { target_rows: 10, fan_in: 2, ..MergeOptions::default() };
            Ended::Merged(
                merge_next(database, id, &options, &Wanted::all(eagerness), &Pool::in_place()).await.map(Next::merged),
            )
        }
        (Op::Collect(retention), _) => {
            Ended::Collected(collect(database, &CollectOptions { enabled: true, retention }, &Scope::All).await)
        }
        (Op::Sweep, _) => Ended::Collected(sweep(database, &Scope::All).await),
    }
}
