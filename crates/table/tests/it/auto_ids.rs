//! Automatic keys are nobody else's, whatever happens to answers.

use std::collections::BTreeSet;

use crate::faulty_meta::{Call, Fault};
use crate::world::Stores;

#[tokio::test]
async fn keys_are_unique_over_nodes_and_restarts() {
    let stores = Stores::new();
    let mut seen = BTreeSet::new();
    for round in 0..3 {
        let nodes = [stores.node(1).await, stores.node(2).await];
        let takes = (0..40usize).map(|at| {
            let node = nodes[at % 2].clone();
            tokio::spawn(async move { node.database.auto_ids.take(at * 50 + 1).await.unwrap() })
        });
        let mut newest = 0;
        for taken in futures::future::join_all(takes).await {
            let taken = taken.unwrap();
            assert!(taken.start > 0);
            newest = newest.max(taken.end);
            for key in taken {
                assert!(seen.insert(key), "{key} twice in round {round}");
            }
        }
    }
    // More than is reserved at once.
    let large = stores.node(1).await.database.auto_ids.take(1_000_000).await.unwrap();
    assert_eq!(large.end - large.start, 1_000_000);
    assert!(seen.iter().all(|key| !large.contains(key)));
}

#[tokio::test]
async fn a_lost_answer_costs_keys_but_gives_none_twice() {
    let stores = Stores::new();
    let (a, b) = (stores.node(1).await, stores.node(2).await);
    let mut taken = Vec::new();
    for fault in [Fault::AnswerLost, Fault::NeverSent, Fault::Late] {
        a.meta.fail_next(Call::Write, fault);
        taken.push(a.database.auto_ids.take(70_000).await.unwrap());
        taken.push(b.database.auto_ids.take(70_000).await.unwrap());
        a.meta.land().await;
        taken.push(b.database.auto_ids.take(70_000).await.unwrap());
    }
    taken.sort_by_key(|range| range.start);
    assert!(taken.windows(2).all(|pair| pair[0].end <= pair[1].start), "{taken:?}");
    a.meta.fail_next(Call::Write, Fault::Refused);
    assert!(a.database.auto_ids.take(100_000).await.is_err());
}
