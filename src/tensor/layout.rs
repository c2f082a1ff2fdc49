/// Why sizes and strides make no tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// There isn't one stride for each dimension.
    #[error("{0} dimensions have {1} strides")]
    Rank(usize, usize),
    /// The last element's position is more than 2⁶³.
    #[error("the last element's position overflows")]
    Overflow,
}

/// Returns how many elements a storage must have for a tensor: the position of its last element
/// plus one, and 0 for a tensor without elements.
///
/// `offset` and `strides` count elements.
///
/// ```
/// use ckpt::tensor::extent;
/// assert_eq!(extent(2, &[3, 4], &[4, 1]), Ok(14));
/// assert_eq!(extent(2, &[3, 0], &[4, 1]), Ok(0));
/// assert_eq!(extent(0, &[1 << 31, 1 << 20], &[0, 0]), Ok(1)); // expanded: one element
/// ```
///
/// # Errors
///
/// See [`LayoutError`].
pub fn extent(offset: u64, shape: &[u64], strides: &[u64]) -> Result<u64, LayoutError> {
    if shape.len() != strides.len() {
        return Err(LayoutError::Rank(shape.len(), strides.len()));
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    let last = shape.iter().zip(strides).try_fold(offset, |position, (length, stride)| {
        (length - 1).checked_mul(*stride).and_then(|step| position.checked_add(step))
    });
    match last {
        Some(last) if last < i64::MAX.unsigned_abs() => Ok(last + 1),
        _ => Err(LayoutError::Overflow),
    }
}
