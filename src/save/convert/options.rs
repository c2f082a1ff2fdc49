use crate::save::{Format, SaveOptions};
use crate::validate::VerifyOptions;

/// How [`convert`](super::convert()) goes about it.
///
/// ```
/// use ckpt::save::{ConvertOptions, Format};
/// let options = ConvertOptions::default().with_format(Format::TorchFlat).with_losses();
/// assert_eq!(options.save.format, Some(Format::TorchFlat));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// How the source is verified before it is read. Names that it allows are allowed to the conversion.
    pub verify: VerifyOptions,
    /// How the new file is written. Metadata and position of the source are added to those given here.
    pub save: SaveOptions,
    /// Whether what the format can't hold is left out, and listed. Default: no; it is refused.
    pub lossy: bool,
}

impl ConvertOptions {
    /// Sets how the source is verified.
    #[must_use]
    pub fn with_verify(mut self, verify: VerifyOptions) -> Self {
        self.verify = verify;
        self
    }

    /// Sets how the new file is written.
    #[must_use]
    pub fn with_save(mut self, save: SaveOptions) -> Self {
        self.save = save;
        self
    }

    /// Sets the format, whatever the extension of the destination says.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.save.format = Some(format);
        self
    }

    /// Leaves out what the format can't hold.
    #[must_use]
    pub fn with_losses(mut self) -> Self {
        self.lossy = true;
        self
    }
}
