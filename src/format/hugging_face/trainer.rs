use crate::record::{Code, Finding, Level};

/// What a file of a Trainer's checkpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// All weights: `model.safetensors`, `pytorch_model.bin`.
    Weights,
    /// The index of sharded weights: `model.safetensors.index.json`, `pytorch_model.bin.index.json`.
    WeightsIndex,
    /// A shard of the weights: `model-00001-of-00002.safetensors`.
    WeightsShard,
    /// The weights of a PEFT adapter: `adapter_model.safetensors`, `adapter_model.bin`.
    Adapter,
    /// The optimizer's state: `optimizer.pt`; `optimizer.bin` under FSDP.
    Optimizer,
    /// The learning rate scheduler's state: `scheduler.pt`.
    Scheduler,
    /// Random number generators: `rng_state.pth`, `rng_state_RANK.pth`.
    Rng,
    /// The gradient scaler's state: `scaler.pt`.
    Scaler,
    /// The arguments of the training, a pickled Python object: `training_args.bin`.
    TrainingArgs,
    /// The position: `trainer_state.json`.
    TrainerState,
    /// Weights and optimizer in the layout of `DeepSpeed`, FSDP, XLA or `SageMaker`.
    Engine,
    /// Anything else: configuration, tokenizer, a model card.
    Other,
}

impl Role {
    /// Tells a file's (or directory's) role by its name, as `transformers.Trainer` gives it.
    pub fn of(name: &str) -> Self {
        match name {
            "model.safetensors" | "pytorch_model.bin" => Self::Weights,
            "model.safetensors.index.json" | "pytorch_model.bin.index.json" => Self::WeightsIndex,
            "adapter_model.safetensors" | "adapter_model.bin" => Self::Adapter,
            "optimizer.pt" | "optimizer.bin" => Self::Optimizer,
            "scheduler.pt" => Self::Scheduler,
            "scaler.pt" => Self::Scaler,
            "training_args.bin" => Self::TrainingArgs,
            "trainer_state.json" => Self::TrainerState,
            "rng_state.pth" => Self::Rng,
            _ if rank(name).is_some() => Self::Rng,
            _ if is_shard(name) => Self::WeightsShard,
            _ if is_engine(name) => Self::Engine,
            _ => Self::Other,
        }
    }

    /// Returns whether the file holds Python objects that only trusted code can rebuild, so that no
    /// more can be asked of it than to be intact.
    pub fn needs_trust(self) -> bool {
        self == Self::TrainingArgs
    }
}

/// Returns the rank of a per-process random state: 3 of `rng_state_3.pth`.
fn rank(name: &str) -> Option<u64> {
    number(name.strip_prefix("rng_state_")?.strip_suffix(".pth")?)
}

/// Returns the number that the whole text is.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Returns whether the name is `model-00001-of-00002.safetensors` or `pytorch_model-…-of-….bin`.
fn is_shard(name: &str) -> bool {
    let stem = name
        .strip_prefix("model-")
        .and_then(|rest| rest.strip_suffix(".safetensors"))
        .or_else(|| name.strip_prefix("pytorch_model-")?.strip_suffix(".bin"));
    stem.and_then(|stem| stem.split_once("-of-"))
        .is_some_and(|(shard, shards)| number(shard).is_some() && number(shards).is_some())
}

/// Returns whether the name is one that a training engine gives to its own files or directories.
fn is_engine(name: &str) -> bool {
    let numbered = |prefix| name.strip_prefix(prefix).and_then(number).is_some();
    numbered("global_step") // DeepSpeed
        || name == "zero_to_fp32.py"
        || numbered("pytorch_model_fsdp_") // FSDP, sharded
        || name == "pytorch_model_fsdp.bin"
        || numbered("optimizer_")
        || name.starts_with("optimizer.pt_") // SageMaker
        || (name.starts_with("rank") && name.ends_with("-optimizer.pt")) // XLA FSDP
}

/// A file of a Trainer's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The file's name in the directory.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Whether the checkpoint is of no use without it.
    pub required: bool,
}

/// What a Trainer's checkpoint consists of.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TrainerArtifacts {
    /// The files that are there, in the order given, those of [`Role::Other`] left out.
    pub artifacts: Vec<Artifact>,
    /// What is missing and shouldn't be, and what limits the use.
    pub findings: Vec<Finding>,
}

/// Returns whether a directory with files of these names is one that a Trainer saves into.
///
/// `trainer_state.json` is written last, so that an interrupted save lacks it: optimizer, scheduler
/// and random state beside `training_args.bin` tell as well. A finished model's directory has
/// `training_args.bin` alone, and is none.
pub fn is_trainer_directory(names: &[String]) -> bool {
    let has = |role| names.iter().any(|name| Role::of(name) == role);
    let state = has(Role::Optimizer) || has(Role::Scheduler) || has(Role::Rng);
    has(Role::TrainerState) || (has(Role::TrainingArgs) && state)
}

/// Returns the step in the name of a Trainer's directory: 500 of `checkpoint-500`.
pub fn checkpoint_step(directory: &str) -> Option<u64> {
    number(directory.strip_prefix("checkpoint-")?).filter(|_| directory.len() > "checkpoint-".len())
}

/// Tells what each file of a Trainer's directory is for, and what is missing.
///
/// What `Trainer._load_from_checkpoint` insists on is required: weights in one of their forms, and
/// the position. Optimizer and scheduler are loaded only where both are there, in silence otherwise:
/// one without the other is a lost part. Where none of the resume state is there, the checkpoint was
/// saved with `save_only_model`.
///
/// ```
/// use ckpt::format::hugging_face::{Role, trainer_artifacts};
/// let names = ["model.safetensors", "trainer_state.json", "optimizer.pt"].map(str::to_owned);
/// let checkpoint = trainer_artifacts(&names);
/// assert_eq!(checkpoint.artifacts[2].role, Role::Optimizer);
/// assert!(checkpoint.findings[0].message.contains("scheduler.pt"));
/// ```
pub fn trainer_artifacts(names: &[String]) -> TrainerArtifacts {
    let artifacts: Vec<Artifact> = names.iter().filter_map(|name| artifact(name)).collect();
    let mut findings = Vec::new();
    findings.extend(missing_weights(&artifacts));
    findings.extend(missing_position(&artifacts));
    findings.extend(missing_resume_state(&artifacts));
    findings.extend(missing_ranks(&artifacts));
    if has(&artifacts, Role::Engine) {
        let message =
            "weights and optimizer in the layout of DeepSpeed, FSDP, XLA or SageMaker aren't checked";
        findings.push(Finding::note(Code::ContentsNotChecked, Level::Container, message));
    }
    TrainerArtifacts { artifacts, findings }
}

/// Tells what a file is for; none for one that has no part in resuming.
fn artifact(name: &str) -> Option<Artifact> {
    let role = Role::of(name);
    let required = matches!(
        role,
        Role::Weights | Role::WeightsIndex | Role::Adapter | Role::TrainerState | Role::Engine
    );
    (role != Role::Other).then(|| Artifact { name: name.to_owned(), role, required })
}

/// Returns whether there is a file of the role.
fn has(artifacts: &[Artifact], role: Role) -> bool {
    artifacts.iter().any(|artifact| artifact.role == role)
}

/// The finding for a part that is gone.
fn missing(message: impl Into<String>) -> Finding {
    Finding::corrupted(Code::ArtifactMissing, Level::Size, message)
}

/// Weights in one of their forms must be there; shards without their index are of no use to a loader.
fn missing_weights(artifacts: &[Artifact]) -> Option<Finding> {
    let forms = [Role::Weights, Role::WeightsIndex, Role::Adapter, Role::Engine];
    if forms.into_iter().any(|role| has(artifacts, role)) {
        return None;
    }
    Some(missing(if has(artifacts, Role::WeightsShard) {
        "the index of the sharded weights is missing"
    } else {
        "the weights are missing: no model.safetensors, pytorch_model.bin, index or adapter"
    }))
}

/// The state file is written last, so its absence says that the save was cut off.
fn missing_position(artifacts: &[Artifact]) -> Option<Finding> {
    let message = "trainer_state.json, which is written last, is missing: the save was interrupted";
    (!has(artifacts, Role::TrainerState)).then(|| missing(message).at_file("trainer_state.json"))
}

/// Looks at optimizer, scheduler and random state together.
fn missing_resume_state(artifacts: &[Artifact]) -> Option<Finding> {
    let note = |message| Finding::note(Code::ArtifactMissing, Level::Size, message);
    let optimizer = has(artifacts, Role::Optimizer) || has(artifacts, Role::Engine);
    match (optimizer, has(artifacts, Role::Scheduler), has(artifacts, Role::Rng)) {
        (true, true, true) => None,
        (true, true, false) => {
            Some(note("there is no random state: a resumed run draws other random numbers than this one"))
        }
        // DeepSpeed keeps its own scheduler's state with its optimizer's.
        (true, false, _) if has(artifacts, Role::Engine) => None,
        (true, false, _) => Some(missing(
            "scheduler.pt is missing beside the optimizer's state: the Trainer would load neither",
        )),
        (false, true, _) => Some(missing(
            "optimizer.pt is missing beside the scheduler's state: the Trainer would load neither",
        )),
        (false, false, true) => {
            Some(missing("optimizer.pt and scheduler.pt are missing beside the random state"))
        }
        (false, false, false) => {
            Some(note("there is no optimizer, scheduler or random state: the model was saved alone"))
        }
    }
}

/// Finds gaps among the per-process random states. A node of several may hold a range of its own.
fn missing_ranks(artifacts: &[Artifact]) -> Option<Finding> {
    let mut ranks: Vec<u64> = artifacts.iter().filter_map(|artifact| rank(&artifact.name)).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let gap = ranks.windows(2).find_map(|pair| match pair {
        [low, high] if low.checked_add(1) != Some(*high) => low.checked_add(1),
        _ => None,
    })?;
    let name = format!("rng_state_{gap}.pth");
    Some(missing(format!("the random state of process {gap} is missing: {name}")).at_file(name))
}
