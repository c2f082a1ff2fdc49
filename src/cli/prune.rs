//! `ckpt prune`.

use std::io::{self, Write};

use serde::Serialize;

use super::args::PruneArgs;
use super::exit::{Outcome, Stop};
use super::output::{Document, buffered};
use super::text::{count, size, visible};
use super::{hints, managed, talk};
use crate::error::Error;
use crate::manager::retention::{Candidate, Plan, Pruned, plan};
use crate::manager::{Run, survey};
use crate::record::{CheckpointId, CheckpointStanding, Decision, Level, PRUNE_SCHEMA, PruneAction};

/// Plans what may go, and removes it where that is asked for.
pub(super) fn run(args: &PruneArgs) -> Result<Outcome, Stop> {
    args.policy().check()?;
    let run = match managed::open(&args.directory)? {
        Ok(run) => run,
        Err(outcome) => return Ok(outcome),
    };
    // From the first look on, so that nobody changes what the plan is of.
    let lock = if args.apply { Some(run.lock()?) } else { None };
    let plan = planned(&run, args)?;
    let pruned = match &lock {
        Some(_) => plan.apply(|id| run.remove(id).map(drop)),
        None => Pruned::default(),
    };
    drop(lock);
    show(args, &run, &plan, &pruned)?;
    pruned.into_result()?;
    Ok(Outcome::Done)
}

/// Makes the plan, and says what is odd about it.
fn planned(run: &Run, args: &PruneArgs) -> Result<Plan, Stop> {
    let there = survey(run, &args.standing.options())?;
    let candidates: Vec<Candidate> = there.iter().map(Candidate::from).collect();
    let plan = plan(&candidates, &args.policy())?;
    if let Some(metric) = plan.unmeasured.first() {
        let message = format!("no good checkpoint has the metric '{metric}'");
        if args.apply {
            return Err(Error::usage(format!("{message}: nothing is removed")).into());
        }
        talk("warning", &format!("{message}: with --apply, nothing would be removed"));
    }
    let is_unknown = |decision: &&Decision| decision.standing == CheckpointStanding::Unverified;
    let unknown = plan.decisions.iter().filter(is_unknown).count() as u64;
    if unknown > 0 && args.standing.level < Some(Level::Load) {
        let unknown = count(unknown, "checkpoint");
        talk("note", &format!("of {unknown} nobody knows whether they are good: they neither count nor go"));
        talk("hint", hints::UNVERIFIED);
    }
    Ok(plan)
}

/// Prints the plan, and what came of it.
fn show(args: &PruneArgs, run: &Run, plan: &Plan, pruned: &Pruned) -> io::Result<()> {
    let mut out = buffered(io::stdout().lock());
    if args.json {
        let mut document = Document::of(out, PRUNE_SCHEMA, "checkpoints");
        plan.decisions.iter().try_for_each(|decision| document.add(decision))?;
        return document.end(&Summary::of(args, run, plan, pruned), &[]);
    }
    table(&mut out, plan)?;
    let (go, all) = (plan.removals().count() as u64, plan.decisions.len());
    let bytes = size(plan.freed_bytes());
    let removed = pruned.removed.len();
    match (go, args.apply) {
        (0, _) => writeln!(out, "\nnothing to remove of {}", count(all as u64, "checkpoint"))?,
        (_, false) => {
            let go = count(go, "checkpoint");
            writeln!(out, "\nwould remove {go} of {all}, {bytes}: --apply does it")?;
        }
        (_, true) if pruned.failed.is_none() => {
            writeln!(out, "\nremoved {} of {all}, {bytes}", count(go, "checkpoint"))?;
        }
        (_, true) => writeln!(out, "\nremoved {removed} of {} that were to go", count(go, "checkpoint"))?,
    }
    out.flush()
}

/// What holds for a plan as a whole.
#[derive(Debug, Serialize)]
struct Summary {
    run: String,
    policy: String,
    level: Level,
    applied: bool,
    checkpoints: usize,
    remove: usize,
    bytes: u64,
    removed: Vec<CheckpointId>,
    failed: Option<String>,
    unmeasured: Vec<String>,
}

impl Summary {
    fn of(args: &PruneArgs, run: &Run, plan: &Plan, pruned: &Pruned) -> Self {
        Self {
            run: run.directory().to_string_lossy().into_owned(),
            policy: args.policy().to_string(),
            level: args.standing.options().level,
            applied: args.apply,
            checkpoints: plan.decisions.len(),
            remove: plan.removals().count(),
            bytes: plan.freed_bytes(),
            removed: pruned.removed.clone(),
            failed: pruned.failed.as_ref().map(|(_, error)| error.to_string()),
            unmeasured: plan.unmeasured.clone(),
        }
    }
}

/// Writes a line per checkpoint: what becomes of it, and why.
fn table(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    let names = plan.decisions.iter().map(|decision| decision.id.to_string().len()).max().unwrap_or(0);
    for decision in &plan.decisions {
        let Decision { id, standing, bytes, action, reasons } = decision;
        let reasons: Vec<String> = reasons.iter().map(|reason| visible(&reason.to_string())).collect();
        let (id, size, reasons) = (id.to_string(), size(*bytes), reasons.join("; "));
        let action = if *action == PruneAction::Keep { "keep  " } else { "remove" };
        writeln!(out, "{action}  {id:names$}  {size:>10}  {standing:10}  {reasons}")?;
    }
    Ok(())
}
