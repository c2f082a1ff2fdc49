//! The names that a checkpoint may ask for, and what each stands for.
//!
//! Source: `_get_allowed_globals` of PyTorch 2.13's `torch/_weights_only_unpickler.py`. Names are
//! compared as `module.name`, as PyTorch does. Beyond PyTorch's list: NumPy's constructors,
//! `frozenset` and `bytes`, which are pure data as well.

use crate::Dtype;

/// A name whose meaning is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// `collections.OrderedDict`: every `state_dict`.
    OrderedDict,
    /// `collections.Counter`: a scheduler's milestones.
    Counter,
    /// `builtins.set`, as protocols below 4 write sets.
    Set,
    /// `builtins.frozenset`; PyTorch refuses it.
    FrozenSet,
    /// Python 3 writes empty `bytes` for protocol 2 as a call of the class.
    Bytes,
    /// `builtins.bytearray`, as protocols below 5 write it.
    ByteArray,
    /// `builtins.complex`.
    Complex,
    /// `_codecs.encode`: bytes, which protocols below 3 write as text.
    Encode,
    /// `torch.Size`.
    Size,
    /// `torch.device`.
    Device,
    /// `torch.Tensor` and the old classes (`torch.FloatTensor`), dense or sparse.
    TensorClass,
    /// `torch.nn.parameter.Parameter`.
    Parameter,
    /// `torch.serialization._get_layout`: `torch.strided` by its name.
    GetLayout,
    /// `torch.float32` and the like: a value and no function.
    Dtype(Dtype),
    /// The element type; `None` for untyped bytes.
    StorageClass(Option<Dtype>),
    /// `torch.storage.TypedStorage`, which has no element type of its own.
    AnyStorageClass,
    /// `torch.per_tensor_affine` and the like: how a quantized tensor is quantized.
    QScheme,
    /// A function of `torch._utils`.
    Rebuild(Rebuild),
    /// `torch._tensor._rebuild_from_type_v2`: a tensor of a subclass, or with attributes.
    FromTypeV2,
    /// One of NumPy's.
    Array(ArrayGlobal),
}

/// The functions of `torch._utils` that rebuild tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rebuild {
    Tensor,
    /// `_rebuild_tensor_v2`: nearly every tensor of every checkpoint. With gradient flag, hooks and metadata.
    TensorV2,
    /// `_rebuild_tensor_v3`: with a dtype of its own, for those that have no storage class.
    TensorV3,
    /// `_rebuild_parameter`: a tensor that a module trains.
    Parameter,
    /// `_rebuild_parameter_with_state`: with the instance's attributes.
    ParameterWithState,
    /// `_rebuild_qtensor`: quantized.
    QTensor,
    /// `_rebuild_sparse_tensor`: of indices and values.
    Sparse,
    /// `_rebuild_meta_tensor_no_storage`: shape and dtype alone.
    Meta,
    /// `_rebuild_nested_tensor`: several of different shapes in one buffer.
    Nested,
    /// `_rebuild_wrapper_subclass`: a subclass without data of its own.
    Wrapper,
    /// `_rebuild_device_tensor_from_cpu_tensor`: of a device that keeps no storages.
    FromCpuTensor,
    /// `_rebuild_device_tensor_from_numpy`: the same, through NumPy.
    FromArray,
}

/// NumPy's constructors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrayGlobal {
    /// `multiarray._reconstruct`: an empty array, which `BUILD` fills.
    Reconstruct,
    /// `numpy.ndarray`, named as the argument of `_reconstruct`.
    Class,
    Dtype,
    /// `multiarray.scalar`: one element by its bytes.
    Scalar,
    /// `numeric._frombuffer`: an array at once, as protocol 5 writes it.
    FromBuffer,
}

impl Known {
    /// Returns whether PyTorch's own safe reader allows the name.
    pub(super) fn in_torch(self) -> bool {
        !matches!(self, Self::FrozenSet | Self::Bytes | Self::Array(_))
    }
}

/// Joins a module and a name, with Python 2's names replaced by today's.
pub(super) fn full_name(module: &str, name: &str) -> String {
    let (module, name) = match (module, name) {
        ("__builtin__", "long") => ("builtins", "int"),
        ("__builtin__", "unicode" | "basestring") => ("builtins", "str"),
        ("__builtin__", "xrange") => ("builtins", "range"),
        ("__builtin__", name) => ("builtins", name),
        ("copy_reg", name) => ("copyreg", name),
        others => others,
    };
    format!("{module}.{name}")
}

/// Finds what a full name stands for.
pub(super) fn lookup(name: &str) -> Option<Known> {
    let known = match name {
        "collections.OrderedDict" => Known::OrderedDict,
        "collections.Counter" => Known::Counter,
        "builtins.set" => Known::Set,
        "builtins.frozenset" => Known::FrozenSet,
        "builtins.bytes" => Known::Bytes,
        "builtins.bytearray" => Known::ByteArray,
        "builtins.complex" => Known::Complex,
        "_codecs.encode" => Known::Encode,
        "torch.Size" => Known::Size,
        "torch.device" => Known::Device,
        "torch.Tensor" => Known::TensorClass,
        "torch.nn.parameter.Parameter" => Known::Parameter,
        "torch.serialization._get_layout" => Known::GetLayout,
        "torch.storage.UntypedStorage" => Known::StorageClass(None),
        "torch.storage.TypedStorage" => Known::AnyStorageClass,
        "torch._tensor._rebuild_from_type_v2" => Known::FromTypeV2,
        "torch.per_tensor_affine"
        | "torch.per_tensor_symmetric"
        | "torch.per_channel_affine"
        | "torch.per_channel_symmetric"
        | "torch.per_channel_affine_float_qparams" => Known::QScheme,
        _ => return lookup_torch(name).or_else(|| lookup_numpy(name)),
    };
    Some(known)
}

/// Finds the names that come in families: the storage classes, the old tensor classes, the dtypes. Those that
/// the name's pattern would allow and PyTorch's list doesn't have are left out.
fn lookup_torch(name: &str) -> Option<Known> {
    let name = name.strip_prefix("torch.")?;
    if let Some(function) = name.strip_prefix("_utils.") {
        return lookup_rebuild(function).map(Known::Rebuild);
    }
    if let Some(class) = name.strip_suffix("Storage") {
        let (class, cuda) = class.strip_prefix("cuda.").map_or((class, false), |class| (class, true));
        let dtype = storage_dtype(class)?;
        let quantized = class.starts_with('Q');
        return (!(cuda && quantized)).then_some(Known::StorageClass(Some(dtype)));
    }
    if let Some(class) = name.strip_suffix("Tensor") {
        let class = class.strip_prefix("cuda.").unwrap_or(class);
        let (class, sparse) = class.strip_prefix("sparse.").map_or((class, false), |class| (class, true));
        let dtype = storage_dtype(class)?;
        let unlisted =
            class.starts_with('Q') || class.starts_with("Complex") || (sparse && dtype == Dtype::Bool);
        return (!unlisted).then_some(Known::TensorClass);
    }
    // `torch.float4_e2m1fn` doesn't exist: PyTorch has only the pair.
    Dtype::from_torch_name(name).filter(|dtype| *dtype != Dtype::F4).map(Known::Dtype)
}

/// Finds a function of `torch._utils`.
fn lookup_rebuild(function: &str) -> Option<Rebuild> {
    Some(match function {
        "_rebuild_tensor" => Rebuild::Tensor,
        "_rebuild_tensor_v2" => Rebuild::TensorV2,
        "_rebuild_tensor_v3" => Rebuild::TensorV3,
        "_rebuild_parameter" => Rebuild::Parameter,
        "_rebuild_parameter_with_state" => Rebuild::ParameterWithState,
        "_rebuild_qtensor" => Rebuild::QTensor,
        "_rebuild_sparse_tensor" => Rebuild::Sparse,
        "_rebuild_meta_tensor_no_storage" => Rebuild::Meta,
        "_rebuild_nested_tensor" => Rebuild::Nested,
        "_rebuild_wrapper_subclass" => Rebuild::Wrapper,
        "_rebuild_device_tensor_from_cpu_tensor" => Rebuild::FromCpuTensor,
        "_rebuild_device_tensor_from_numpy" => Rebuild::FromArray,
        _ => return None,
    })
}

/// The element types of the classes `torch.FloatStorage` and `torch.FloatTensor`, by what precedes the last
/// word.
fn storage_dtype(class: &str) -> Option<Dtype> {
    Some(match class {
        "Double" => Dtype::F64,
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::Bf16,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::Bool,
        "ComplexDouble" => Dtype::C128,
        "ComplexFloat" => Dtype::C64,
        "QUInt8" => Dtype::QU8,
        "QInt8" => Dtype::QI8,
        "QInt32" => Dtype::QI32,
        "QUInt4x2" => Dtype::QU4x2,
        "QUInt2x4" => Dtype::QU2x4,
        _ => return None,
    })
}

/// NumPy moved its private modules from `core` to `_core` in version 2.
fn lookup_numpy(name: &str) -> Option<Known> {
    let name = name.strip_prefix("numpy.")?;
    let name = name.strip_prefix("core.").or_else(|| name.strip_prefix("_core.")).unwrap_or(name);
    let global = match name {
        "multiarray._reconstruct" => ArrayGlobal::Reconstruct,
        "multiarray.scalar" => ArrayGlobal::Scalar,
        "numeric._frombuffer" => ArrayGlobal::FromBuffer,
        "ndarray" => ArrayGlobal::Class,
        "dtype" => ArrayGlobal::Dtype,
        _ => return None,
    };
    Some(Known::Array(global))
}
