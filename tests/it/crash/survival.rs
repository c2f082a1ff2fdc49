//! Which of the changes that weren't durable survive a loss of power.

use super::power::PowerLoss;
use super::random::Random;

/// What becomes of one change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It never reached the device.
    Lost,
    /// It did.
    Kept,
    /// The length did, the bytes didn't: they are zeros.
    Zeros,
    /// The length did, and the bytes are those of some deleted file.
    Stale(u64),
    /// Some of its sectors did.
    Torn(u64),
}

/// Which changes of names survive.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// The first few: a file system with a journal keeps them in order.
    First(usize),
    /// Any of their steps: nothing is in order but what the directory's sync orders.
    Any(Vec<bool>),
}

/// What survives.
#[derive(Clone, Debug)]
pub(super) struct Survival {
    /// Of the names.
    pub(super) names: Order,
    /// Of the files: one for each of [`PowerLoss::unsynced`].
    pub(super) data: Vec<Fate>,
}

/// More steps than that are not tried in all combinations.
const MOST_EXHAUSTIVE_STEPS: usize = 6;

/// Returns what may survive: of the changes of files nothing, everything, each one alone, all but one, each
/// one spoilt, and `random` mixtures; each of these with all that may become of the names.
pub(super) fn survivals(loss: &PowerLoss, random: usize, seed: u64) -> Vec<Survival> {
    let mut numbers = Random::new(seed);
    let data = data_fates(loss.unsynced().len(), random, &mut numbers);
    let names = name_orders(loss, random, &mut numbers);
    let both = |names: &Order| {
        let names = names.clone();
        data.iter().map(move |data| Survival { names: names.clone(), data: data.clone() })
    };
    names.iter().flat_map(both).collect()
}

fn data_fates(changes: usize, random: usize, numbers: &mut Random) -> Vec<Vec<Fate>> {
    let mut fates = vec![vec![Fate::Lost; changes]];
    if changes == 0 {
        return fates;
    }
    fates.push(vec![Fate::Kept; changes]);
    for change in 0..changes {
        let mut but_one = |others: Fate, fate: Fate| {
            let mut all = vec![others; changes];
            all[change] = fate;
            fates.push(all);
        };
        but_one(Fate::Lost, Fate::Kept);
        but_one(Fate::Kept, Fate::Lost);
        but_one(Fate::Kept, Fate::Zeros);
        but_one(Fate::Kept, Fate::Stale(numbers.next()));
        but_one(Fate::Kept, Fate::Torn(numbers.next()));
    }
    fates.extend((0..random).map(|_| (0..changes).map(|_| fate(numbers)).collect::<Vec<_>>()));
    fates
}

fn fate(numbers: &mut Random) -> Fate {
    match numbers.below(6) {
        0 | 1 => Fate::Kept,
        2 => Fate::Lost,
        3 => Fate::Zeros,
        4 => Fate::Stale(numbers.next()),
        _ => Fate::Torn(numbers.next()),
    }
}

fn name_orders(loss: &PowerLoss, random: usize, numbers: &mut Random) -> Vec<Order> {
    let mut orders: Vec<Order> = (0..=loss.pending()).map(Order::First).collect();
    let steps = loss.steps();
    if steps <= MOST_EXHAUSTIVE_STEPS {
        let bits = |set: usize| Order::Any((0..steps).map(|step| set >> step & 1 == 1).collect());
        orders.extend((0..1 << steps).map(bits));
        return orders;
    }
    for step in 0..steps {
        orders.push(Order::Any((0..steps).map(|other| other == step).collect()));
        orders.push(Order::Any((0..steps).map(|other| other != step).collect()));
    }
    orders.extend((0..random).map(|_| Order::Any((0..steps).map(|_| numbers.coin()).collect())));
    orders
}

/// Returns what survives where each change of names does as a whole or not at all, in no order, and all changes of files
/// do: all sets of them, where there aren't too many.
pub(super) fn whole_changes(loss: &PowerLoss) -> Vec<Survival> {
    let steps_of_each = loss.steps_of_each();
    let sets = if steps_of_each.len() <= MOST_EXHAUSTIVE_STEPS { 1 << steps_of_each.len() } else { 0 };
    let bits = |set: usize| {
        let each = steps_of_each.iter().enumerate();
        Order::Any(each.flat_map(|(change, steps)| vec![set >> change & 1 == 1; *steps]).collect())
    };
    (0..sets)
        .map(|set| Survival { names: bits(set), data: vec![Fate::Kept; loss.unsynced().len()] })
        .collect()
}
