use std::collections::{BTreeMap, HashMap};

use burn_core::module::{Module, ParamId};
use burn_core::record::{DoublePrecisionSettings, Record};
use burn_core::tensor::backend::Backend;

use super::survey::survey;
use crate::record::quoted;
use crate::tensor::{State, TensorRef, TensorView, Value};
use crate::{Dtype, Error};

/// The numbers of a saved record: such that hold all others.
type Precision = DoublePrecisionSettings;

/// Takes a record of burn's, such as a learning rate schedule's: a tensor of bytes, which are `MessagePack` with the
/// names of its fields.
///
/// # Errors
///
/// It can't be encoded.
pub fn record_value<B: Backend, R: Record<B>>(record: R) -> Result<Value<'static>, Error> {
    let bytes = rmp_serde::to_vec_named(&record.into_item::<Precision>());
    let bytes = bytes.map_err(|error| Error::usage(format!("the record can't be encoded: {error}")))?;
    Ok(TensorView::new(Dtype::U8, [bytes.len() as u64], bytes)?.into())
}

/// Reads what [`record_value`] made, at `path` in a state.
///
/// # Errors
///
/// There is no record, or it is none that burn knows for what is asked of it.
pub fn read_record<B: Backend, R: Record<B>>(
    state: &State<'_>,
    path: &str,
    device: &B::Device,
) -> Result<R, Error> {
    let found = state.tensor(path).ok_or_else(|| {
        Error::usage(format!("the state has no record at {}: it has none of burn's there", quoted(path)))
    })?;
    decode(&found, device)
}

/// Takes the records of an optimizer (`optimizer.to_record()`), each under the name of its parameter in the module
/// that it trains.
///
/// # Errors
///
/// A record is of no parameter of the module, or it can't be encoded.
pub fn optimizer_value<B, C, M, R>(
    module: &M,
    records: impl IntoIterator<Item = (ParamId, R)>,
) -> Result<Value<'static>, Error>
where
    B: Backend,
    C: Backend,
    M: Module<B>,
    R: Record<C>,
{
    let names: HashMap<ParamId, String> =
        survey(module, false)?.into_iter().map(|entry| (entry.id, entry.name)).collect();
    let mut values = BTreeMap::new();
    for (id, record) in records {
        let Some(name) = names.get(&id) else {
            let message =
                "the optimizer has state of a parameter that the module hasn't: it trains another one";
            return Err(Error::usage(message));
        };
        values.insert(name.clone(), record_value::<C, R>(record)?);
    }
    Ok(Value::from_iter(values))
}

/// Reads what [`optimizer_value`] made, at `path` in a state, for a module whose parameters have the same names. It
/// becomes the record that `optimizer.load_record` takes.
///
/// A parameter without a record is one that no step has changed yet.
///
/// # Errors
///
/// A record is of no parameter of the module, or none that burn knows for this optimizer.
pub fn read_optimizer<B, C, M, R, All>(
    module: &M,
    state: &State<'_>,
    path: &str,
    device: &C::Device,
) -> Result<All, Error>
where
    B: Backend,
    C: Backend,
    M: Module<B>,
    R: Record<C>,
    All: IntoIterator<Item = (ParamId, R)> + FromIterator<(ParamId, R)>,
{
    if state.value(path).is_none() {
        return Err(Error::usage(format!("the state has no optimizer at {}", quoted(path))));
    }
    let ids: HashMap<String, ParamId> =
        survey(module, false)?.into_iter().map(|entry| (entry.name, entry.id)).collect();
    let inside = format!("{path}.");
    let mut records = Vec::new();
    for found in state.tensors()? {
        let Some(name) = found.name().strip_prefix(&inside) else { continue };
        let Some(&id) = ids.get(name) else {
            let message =
                format!("the state has an optimizer's record of {}, which the module hasn't", quoted(name));
            return Err(Error::usage(message));
        };
        records.push((id, decode(&found, device)?));
    }
    Ok(records.into_iter().collect())
}

/// Reads one record.
fn decode<B: Backend, R: Record<B>>(found: &TensorRef<'_>, device: &B::Device) -> Result<R, Error> {
    if found.dtype() != Dtype::U8 {
        return Err(Error::usage(format!("{} is no record of burn's", quoted(found.name()))));
    }
    let bytes = found.bytes()?;
    let mut rest: &[u8] = &bytes;
    let item: R::Item<Precision> = rmp_serde::from_read(&mut rest).map_err(|error| {
        Error::usage(format!("{} is no record of this kind: {error}", quoted(found.name())))
    })?;
    if !rest.is_empty() {
        let message = format!("{} is no record of this kind: it has more in it", quoted(found.name()));
        return Err(Error::usage(message));
    }
    Ok(R::from_item(item, device))
}
