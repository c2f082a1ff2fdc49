//! What ckpt does with other frameworks, held against these.

#[cfg(test)]
mod burn;
#[cfg(test)]
mod candle;
