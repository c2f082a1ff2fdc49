use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a pipeline is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PipelineStatus {
    /// No stage was begun.
    #[default]
    NotStarted,
    /// Some stages are done, or one is at work.
    InProgress,
    /// A stage waits for its review, and nothing goes on before that.
    Paused,
    /// All stages are done.
    Completed,
    /// A stage has failed, and is to be tried again.
    Failed,
}

impl PipelineStatus {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NotStarted, Self::InProgress, Self::Paused, Self::Completed, Self::Failed];

    /// Returns the word used in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::InProgress => "in_progress",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// Returns what a pipeline is whose stages are this far. One without stages isn't started.
    ///
    /// ```
    /// use ckpt::record::{PipelineStatus, StageStatus};
    /// let of = PipelineStatus::of_stages;
    /// assert_eq!(of([StageStatus::Completed, StageStatus::AwaitingReview]), PipelineStatus::Paused);
    /// assert_eq!(of([StageStatus::Completed, StageStatus::NotStarted]), PipelineStatus::InProgress);
    /// ```
    pub fn of_stages(stages: impl IntoIterator<Item = StageStatus>) -> Self {
        let stages: Vec<StageStatus> = stages.into_iter().collect();
        let any = |status| stages.contains(&status);
        if any(StageStatus::AwaitingReview) {
            Self::Paused
        } else if any(StageStatus::Failed) {
            Self::Failed
        } else if stages.iter().all(|stage| *stage == StageStatus::NotStarted) {
            Self::NotStarted
        } else if stages.iter().all(|stage| *stage == StageStatus::Completed) {
            Self::Completed
        } else {
            Self::InProgress
        }
    }
}

impl fmt::Display for PipelineStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StageStatus {
    /// It wasn't begun, or is to be done anew.
    #[default]
    NotStarted,
    /// It is at work, or was when its process ended: then it is to be done anew.
    InProgress,
    /// Its work is done, and somebody is to look at it.
    AwaitingReview,
    /// It is done.
    Completed,
    /// It has failed, with an error.
    Failed,
}

impl StageStatus {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NotStarted, Self::InProgress, Self::AwaitingReview, Self::Completed, Self::Failed];

    /// Returns the word used in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::InProgress => "in_progress",
            Self::AwaitingReview => "awaiting_review",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for StageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_json() {
        for status in PipelineStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for status in StageStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }

    #[test]
    fn a_pipeline_is_as_far_as_its_stages() {
        use StageStatus::{AwaitingReview, Completed, Failed, InProgress, NotStarted};
        for (stages, status) in [
            (&[][..], PipelineStatus::NotStarted),
            (&[NotStarted, NotStarted], PipelineStatus::NotStarted),
            (&[InProgress, NotStarted], PipelineStatus::InProgress),
            (&[Completed, NotStarted], PipelineStatus::InProgress),
            (&[Completed, Failed], PipelineStatus::Failed),
            (&[AwaitingReview, NotStarted], PipelineStatus::Paused),
            (&[Completed, Completed], PipelineStatus::Completed),
        ] {
            assert_eq!(PipelineStatus::of_stages(stages.iter().copied()), status, "{stages:?}");
        }
    }
}
