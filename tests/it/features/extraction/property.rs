//! Whatever batches, ranks and kills there are, every id is done or to do.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{aggregated, assert_all, extract, ids, open, options, rows};

/// One run: how many ranks, how many ids to a batch and rows to a shard, and after how many batches each rank is
/// stopped.
#[derive(Clone, Debug)]
struct Job {
    batch: usize,
    rows: u64,
    lives: Vec<usize>,
}

fn job() -> impl Strategy<Value = Job> {
    (1_usize..5, 1_u64..8, vec(0_usize..6, 1..4)).prop_map(|(batch, rows, lives)| Job { batch, rows, lives })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_id_is_lost_or_done_twice(jobs in vec(job(), 0..4), count in 1_usize..40, torn in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let ids = ids(count);
        open(directory.path(), (0, 1), &ids, options());
        for Job { batch, rows: shard_rows, lives } in jobs {
            let world = u32::try_from(lives.len()).unwrap();
            // All open before any ends: they work side by side.
            let mut workers = Vec::new();
            for (rank, life) in (0..world).zip(lives) {
                let extraction = open(directory.path(), (rank, world), &ids, options().with_rows(shard_rows));
                let todo = extraction.todo(&ids).unwrap().for_rank(extraction.worker());
                let mut writer = extraction.writer().unwrap();
                for batch in todo.chunks(batch).take(life) {
                    writer.push(batch, &rows(batch)).unwrap();
                }
                workers.push(writer);
            }
            // Dropped without an end: what is in no shard is lost.
            drop(workers);
            assert_all(directory.path(), &ids);
            if torn {
                // As a kill between a shard and the rank's note of it.
                std::fs::remove_file(directory.path().join("shard_0/rank.json")).unwrap();
            }
        }
        extract(directory.path(), (0, 1), &ids, options());
        prop_assert_eq!(assert_all(directory.path(), &ids).ids.len(), 0);
        let whole = tempfile::tempdir().unwrap();
        extract(whole.path(), (0, 1), &ids, options());
        prop_assert_eq!(aggregated(directory.path(), &ids), aggregated(whole.path(), &ids));
    }
}
