//! Features by id: extracted by many workers, put together.

mod extraction;
