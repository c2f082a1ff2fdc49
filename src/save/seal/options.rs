use crate::digest::Algorithm;
use crate::io::commit::Durability;
use crate::validate::VerifyOptions;

/// How [`seal`](super::seal()) goes about it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SealOptions {
    /// How the file is verified first. Default: at the level [`Load`](crate::Level::Load).
    pub verify: VerifyOptions,
    /// What the digests are computed with. Default: [`Algorithm::Crc64Nvme`]; a seal that holds is left,
    /// whatever it was made with.
    pub algorithm: Algorithm,
    /// Whether a seal that doesn't hold is replaced, if the file itself is sound. Default: no.
    pub renew: bool,
    /// Whether the seal is to survive a loss of power before [`seal`](super::seal()) returns. Default: yes.
    pub durability: Durability,
}

impl SealOptions {
    /// Sets how the file is verified first.
    #[must_use]
    pub fn with_verify(mut self, verify: VerifyOptions) -> Self {
        self.verify = verify;
        self
    }

    /// Sets what the digests are computed with.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Replaces a seal that doesn't hold.
    #[must_use]
    pub fn with_renewal(mut self) -> Self {
        self.renew = true;
        self
    }
}
