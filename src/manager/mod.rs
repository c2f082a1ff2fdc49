//! Policy: the checkpoints of a run. When one is saved, which are kept, and from which the work goes on.
//!
//! A run is a directory; `docs/layout.md` has what is in it. `run` knows the places, `commit` makes one
//! checkpoint there, `resume` walks back to the newest that is good, `background` saves while the work goes
//! on, `retention` decides what may go, and `triggers` when it is time to save. `semantic` looks for the
//! signs of a mistake in what was saved.

pub mod background;

mod commit;
mod committed;
mod event;
mod exchange;
mod front;
mod keeper;
mod options;
mod request;
mod resume;
pub mod retention;
pub mod run;
mod semantic;
mod survey;
pub mod triggers;
mod work;

pub use commit::{CommitOptions, commit};
pub use committed::{Committed, Notice};
pub use event::{Event, Reporter};
pub use exchange::Exchange;
pub use front::Manager;
pub(crate) use keeper::next_id;
pub use options::ManagerOptions;
pub use request::SaveRequest;
pub use resume::{Latest, ResumeOptions, Resumed, latest, resume, resume_together};
pub use run::{Run, RunLock};
pub use semantic::Semantic;
pub use survey::survey;
