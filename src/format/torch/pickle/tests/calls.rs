//! What calls of known names build: values, tensors, arrays.

use super::*;

#[test]
fn known_calls_build_what_they_return() {
    for (text, value) in [
        ("ccollections\nOrderedDict\n((lp0\n(S'a'\nI1\nlatR.", "OrderedDict{'a':1}"),
        ("ccollections\nCounter\n((dS'a'\nI1\nstR.", "Counter{'a':1}"),
        ("c__builtin__\nset\n((I1\nI1\nltR.", "set(1)"),
        ("c__builtin__\nfrozenset\n((I1\nltR.", "frozenset(1)"),
        ("c__builtin__\nbytearray\n(S'a'\nS'latin-1'\ntR.", "a'a'"),
        ("c__builtin__\nbytearray\n(tR.", "a''"),
        ("c_codecs\nencode\n(V\\u00ff\nS'latin1'\ntR.", "b'\\xff'"),
        ("c_codecs\nencode\n(Va\ntR.", "b'a'"),
        ("c_codecs\nencode\n(Va\nS'ascii'\ntR.", "b'a'"),
        ("c__builtin__\ncomplex\n(F1.0\nI2\ntR.", "Complex(1.0, 2.0)"),
        ("ctorch\nSize\n((I1\nI2\nttR.", "Size([1, 2])"),
        ("ctorch\nSize\n(tR.", "Size([])"),
        ("ctorch\ndevice\n(S'cuda'\nI1\ntR.", "Device(\"cuda:1\")"),
        ("ctorch\ndevice\n(S'cpu'\ntR.", "Device(\"cpu\")"),
        ("ctorch.serialization\n_get_layout\n(S'torch.strided'\ntR.", "Layout(\"strided\")"),
        ("ctorch\nfloat32\n.", "Dtype(F32)"),
        ("ctorch\nper_tensor_affine\n.", "QScheme(\"per_tensor_affine\")"),
        ("ctorch\nFloatTensor\n.", "Global(\"torch.FloatTensor\")"),
    ] {
        assert_eq!(shown(text), value, "{text}");
    }
    let tree = run("ccollections\nOrderedDict\n(tRS'a'\nI1\ns(S'_metadata'\nI2\ndb.").tree;
    let Node::Map(MapKind::OrderedDict, Some(map)) = tree.node(tree.root()) else { panic!("no map") };
    assert_eq!(show(&tree, map.attributes.unwrap()), "{'_metadata':2}");
}

#[test]
fn known_calls_with_other_arguments_are_invalid() {
    for (text, word) in [
        ("ccollections\nOrderedDict\n(NtR.", "a map made of a value of type NoneType"),
        ("ccollections\nOrderedDict\n(NNtR.", "several arguments"),
        ("ccollections\nOrderedDict\n((NltR.", "isn't pairs"),
        ("ccollections\nOrderedDict\n(((NtltR.", "isn't pairs"),
        ("ccollections\nCounter\n((NltR.", "a map made of a value of type list"),
        ("c__builtin__\nset\n(NtR.", "a set made of"),
        ("c__builtin__\nset\n(NNtR.", "several arguments"),
        ("c__builtin__\nset\n(((lltR.", "a list can't be a key"),
        ("c__builtin__\nbytearray\n(NtR.", "a bytearray made of"),
        ("c__builtin__\nbytearray\n(NNNtR.", "several arguments"),
        ("c_codecs\nencode\n(V\\u0100\nS'latin1'\ntR.", "above 255"),
        ("c_codecs\nencode\n(V\\u00ff\nS'ascii'\ntR.", "encoding 'ascii'"),
        ("c_codecs\nencode\n(Va\nS'rot13'\ntR.", "encoding 'rot13'"),
        ("c_codecs\nencode\n(NtR.", "a string is needed"),
        ("c__builtin__\ncomplex\n(NtR.", "a number is needed"),
        ("c__builtin__\ncomplex\n(tR.", "with 0 arguments"),
        ("ctorch\nSize\n(NtR.", "a tuple is needed"),
        ("ctorch\nSize\n((NttR.", "an integer is needed"),
        ("ctorch\ndevice\n(NtR.", "a string is needed"),
        ("ctorch\ndevice\n(tR.", "with 0 arguments"),
        ("ctorch\nFloatStorage\n(tR.", "takes others"),
        ("ctorch.nn.parameter\nParameter\n(NtR.", "a tensor is needed"),
        ("ctorch._tensor\n_rebuild_from_type_v2\n(NNNNtR.", "by no function"),
        ("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nSize\nNNNtR.", "no tuple"),
    ] {
        refuses(text, FaultKind::Invalid, word);
    }
}

#[test]
fn a_tensor_is_not_wrapped_forever() {
    let wrap = "ctorch._tensor\n_rebuild_from_type_v2\n";
    let mut arguments = "(t".to_owned();
    for _ in 0..20 {
        arguments = format!("({wrap}N{arguments}Nt");
    }
    refuses(format!("{wrap}{arguments}R."), FaultKind::TooComplex, "wrapped too often");
}

// Tensors.

/// A persistent id of a storage of ten floats, on the stack.
const STORAGE: &str = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI10\ntQ";

fn v2(offset: &str, size: &str, stride: &str) -> String {
    format!("ctorch._utils\n_rebuild_tensor_v2\n({STORAGE}{offset}{size}{stride}I01\nNtR.")
}

#[test]
fn a_strided_tensor_is_rebuilt() {
    let tensor = tensor(v2("I2\n", "(I2\nI3\nt", "(I3\nI1\nt"));
    assert_eq!(
        (tensor.dtype, tensor.shape.as_slice(), tensor.requires_grad),
        (Dtype::F32, &[2, 3][..], true)
    );
    let Body::Strided { offset, strides, quantizer, .. } = tensor.body else { panic!("{:?}", tensor.body) };
    assert_eq!((offset, strides.as_slice(), quantizer), (2, &[3, 1][..], None));
    let tree = run(v2("I0\n", "(t", "(t")).tree;
    assert_eq!(tree.storages().len(), 1);
    let storage = &tree.storages()[0];
    assert_eq!((storage.key.as_str(), storage.bytes, storage.device.as_str()), ("0", 40, "cpu"));
}

#[test]
fn a_tensor_may_not_leave_its_storage() {
    for (offset, size, stride, word) in [
        ("I0\n", "(I11\nt", "(I1\nt", "reaches outside storage '0' of 40 bytes"),
        ("I5\n", "(I6\nt", "(I1\nt", "reaches outside"),
        ("I0\n", "(I2\nt", "(I10\nt", "reaches outside"),
        ("I11\n", "(t", "(t", "reaches outside"),
        ("I-1\n", "(I1\nt", "(I1\nt", "an offset is -1"),
        ("I0\n", "(I-1\nt", "(I1\nt", "negative"),
        ("I0\n", "(I2\nt", "(I-1\nt", "negative"),
        ("I0\n", "(I2\nI2\nt", "(I1\nt", "2 dimensions have 1 strides"),
        ("I0\n", "(I4294967296\nI4294967296\nt", "(I4294967296\nI4294967296\nt", "overflows"),
        ("I0\n", "(I4294967296\nI4294967296\nt", "(I0\nI0\nt", "more elements than any machine"),
        ("I9223372036854775807\n", "(I1\nt", "(I1\nt", "overflows"),
    ] {
        refuses(v2(offset, size, stride), FaultKind::Tensor, word);
    }
    // Without elements, any offset and stride reach nothing.
    assert!(run(v2("I99\n", "(I0\nt", "(I7\nt")).bytes > 0);
    // Expanded: many elements, one place.
    assert_eq!(tensor(v2("I9\n", "(I1000000\nt", "(I0\nt")).shape, [1_000_000]);
}

#[test]
fn rebuild_functions_check_their_arguments() {
    let utils = |name: &str, arguments: &str| format!("ctorch._utils\n{name}\n({arguments}tR.");
    let plain = v2("I0\n", "(I2\nt", "(I1\nt").trim_end_matches('.').to_owned();
    for (name, arguments, word) in [
        ("_rebuild_tensor", String::new(), "from 0 arguments"),
        ("_rebuild_tensor_v2", STORAGE.to_owned(), "from 1 arguments"),
        ("_rebuild_tensor", "NI0\n(t(t".to_owned(), "without a storage"),
        ("_rebuild_tensor", format!("{STORAGE}N(t(t"), "an integer is needed"),
        ("_rebuild_tensor", format!("{STORAGE}I0\nN(t"), "a tuple is needed"),
        ("_rebuild_tensor_v2", format!("{STORAGE}I0\n(t(tS'x'\nN"), "a truth value"),
        ("_rebuild_tensor_v3", format!("{STORAGE}I0\n(t(tI00\nNN"), "a dtype is needed"),
        ("_rebuild_qtensor", format!("{STORAGE}I0\n(t(tNI00\nN"), "a tuple is needed"),
        ("_rebuild_qtensor", format!("{STORAGE}I0\n(t(t(NtI00\nN"), "without a scheme"),
        ("_rebuild_qtensor", format!("{STORAGE}I0\n(t(t(ctorch\nper_tensor_affine\ntI00\nN"), "of a scheme"),
        ("_rebuild_sparse_tensor", "NN".to_owned(), "without a layout"),
        (
            "_rebuild_sparse_tensor",
            "ctorch.serialization\n_get_layout\n(S'torch.jagged'\ntR(t".to_owned(),
            "no known layout",
        ),
        ("_rebuild_meta_tensor_no_storage", "N(tNI00\n".to_owned(), "a dtype is needed"),
        ("_rebuild_nested_tensor", "NNNN".to_owned(), "a tensor is needed"),
        ("_rebuild_nested_tensor", format!("{plain}NNN"), "a tensor is needed"),
        ("_rebuild_device_tensor_from_numpy", "Nctorch\nfloat32\nNI00\n".to_owned(), "from no array"),
        ("_rebuild_parameter", "NI00\nN".to_owned(), "a tensor is needed"),
        ("_rebuild_wrapper_subclass", String::new(), "from 0 arguments"),
    ] {
        refuses(utils(name, &arguments), FaultKind::Invalid, word);
    }
}

#[test]
fn each_rebuild_function_gives_its_tensor() {
    let utils = |name: &str, arguments: &str| tensor(format!("ctorch._utils\n{name}\n({arguments}tR."));
    let plain = v2("I0\n", "(I2\nt", "(I1\nt").trim_end_matches('.').to_owned();
    let v3 = utils("_rebuild_tensor_v3", &format!("{STORAGE}I0\n(I3\nt(I1\ntI00\nNctorch\nuint16\n"));
    assert_eq!((v3.dtype, v3.shape.as_slice()), (Dtype::U16, &[3][..]));
    let lazy = utils(
        "_rebuild_tensor_v3",
        &format!("{STORAGE}I0\n(t(tI00\nNctorch\ncomplex64\n(dS'conj'\nI01\nsS'neg'\nI01\ns"),
    );
    assert!(lazy.conjugated && lazy.negated);
    let parameter = utils("_rebuild_parameter", &format!("{plain}I01\nN"));
    assert!(parameter.parameter && parameter.requires_grad);
    let meta = utils("_rebuild_meta_tensor_no_storage", "ctorch\nfloat16\n(I7\ntNI00\n");
    assert_eq!((meta.dtype, meta.shape.as_slice(), meta.body), (Dtype::F16, &[7][..], Body::Meta));
    let layout = "ctorch.serialization\n_get_layout\n(S'torch.sparse_csr'\ntR";
    let sparse = utils("_rebuild_sparse_tensor", &format!("{layout}({plain}{plain}{plain}(I2\nI2\ntt"));
    let Body::Sparse { parts, .. } = &sparse.body else { panic!("{:?}", sparse.body) };
    let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["crow_indices", "col_indices", "values"]);
    assert_eq!(sparse.shape, [2, 2]);
    let nested = utils("_rebuild_nested_tensor", &plain.repeat(4));
    assert!(matches!(nested.body, Body::Nested { .. }));
    let cast = utils("_rebuild_device_tensor_from_cpu_tensor", &format!("{plain}ctorch\nfloat64\nNI01\n"));
    assert_eq!((cast.dtype, cast.shape.as_slice(), cast.requires_grad), (Dtype::F64, &[2][..], true));
}

#[test]
fn quantized_channels_fit_the_axis() {
    let with = |count: usize, axis: &str| {
        let scales = format!("({}l", "F1.0\n".repeat(count));
        let quantizer = format!("(ctorch\nper_channel_affine\n{scales}{scales}I{axis}\nt");
        format!(
            "ctorch._utils\n_rebuild_qtensor\n((S'storage'\nctorch\nQInt8Storage\nS'q'\nS'cpu'\nI6\ntQI0\n(I2\nI3\nt(I3\nI1\nt{quantizer}I00\nNtR."
        )
    };
    assert_eq!(tensor(with(3, "1")).dtype, Dtype::QI8);
    refuses(with(2, "1"), FaultKind::Tensor, "2 scales for 3 channels");
    refuses(with(2, "2"), FaultKind::Tensor, "none of its dimensions");
    refuses(with(2, "-1"), FaultKind::Tensor, "-1");
}

#[test]
fn tensors_of_the_first_versions_get_their_state() {
    let old = tensor(format!("ctorch\nFloatTensor\n(tR({STORAGE}I1\n(I2\nt(I1\nttb."));
    assert_eq!(old.shape, [2]);
    let inner = v2("I0\n", "(I2\nt", "(I1\nt").trim_end_matches('.').to_owned();
    let parameter = tensor(format!("ctorch.nn.parameter\nParameter\n(tR({inner}NNI01\nNtb."));
    assert!(parameter.parameter && parameter.requires_grad);
    let flagged = tensor(format!("{inner}(I00\nNNtb."));
    assert!(!flagged.requires_grad);
    refuses(format!("{inner}(NNtb."), FaultKind::Invalid, "no known form");
    refuses(format!("{inner}Nb."), FaultKind::Invalid, "a tuple is needed");
    refuses(
        format!("ctorch\nFloatTensor\n(tR({STORAGE}I9\n(I2\nt(I1\nttb."),
        FaultKind::Tensor,
        "reaches outside",
    );
}

#[test]
fn one_storage_has_one_type_and_size() {
    let storage =
        |class: &str, length: u32| format!("(S'storage'\nctorch\n{class}\nS'0'\nS'cpu'\nI{length}\ntQ");
    let both = |a: &str, b: &str| format!("({a}{b}t.");
    let same = run(both(&storage("FloatStorage", 2), &storage("FloatStorage", 2))).tree;
    assert_eq!(same.storages().len(), 1);
    for other in [storage("LongStorage", 1), storage("IntStorage", 2), storage("FloatStorage", 3)] {
        refuses(both(&storage("FloatStorage", 2), &other), FaultKind::Tensor, "storage '0' is used with two");
    }
    // Empty ones have nothing to confuse.
    assert_eq!(run(both(&storage("FloatStorage", 0), &storage("LongStorage", 0))).tree.storages().len(), 2);
    refuses(both(&storage("FloatStorage", 0), &storage("LongStorage", 1)), FaultKind::Tensor, "two types");
}

#[test]
fn persistent_ids_are_checked() {
    for (text, kind, word) in [
        ("(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI-1\ntQ.", FaultKind::Tensor, "-1"),
        (
            "(S'storage'\nctorch\nDoubleStorage\nS'0'\nS'cpu'\nI9223372036854775807\ntQ.",
            FaultKind::Tensor,
            "too large for any machine",
        ),
        ("(S'storage'\nctorch\nSize\nS'0'\nS'cpu'\nI1\ntQ.", FaultKind::Invalid, "no known class"),
        ("(S'storage'\nNS'0'\nS'cpu'\nI1\ntQ.", FaultKind::Invalid, "no known class"),
        ("(S'storage'\nctorch\nFloatStorage\n)S'cpu'\nI1\ntQ.", FaultKind::Invalid, "a string is needed"),
        ("(S'storage'\nctorch\nFloatStorage\nS'0'\n)I1\ntQ.", FaultKind::Invalid, "device is no string"),
        ("(S'other'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI1\ntQ.", FaultKind::Invalid, "no storage"),
        ("(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nNtQ.", FaultKind::Invalid, "an integer"),
    ] {
        refuses(text, kind, word);
    }
}

fn view(key: &str, name: &str, offset: i64, length: i64) -> String {
    let whole = format!("(S'storage'\nctorch\nFloatStorage\nS'{key}'\nS'cpu'\nI10\n");
    format!("{whole}(S'{name}'\nI{offset}\nI{length}\nttQ")
}

#[test]
fn old_views_stay_within_their_storage() {
    let tree = run(format!("{}.", view("0", "v", 4, 6))).tree;
    let part = &tree.storages()[1];
    assert_eq!((part.bytes, part.part_of.unwrap().1), (24, 16));
    assert_eq!(tree.storages()[0].bytes, 40);
    refuses(format!("{}.", view("0", "v", 5, 6)), FaultKind::Tensor, "a view reaches past");
    refuses(format!("{}.", view("0", "v", -1, 6)), FaultKind::Tensor, "-1");
    refuses(format!("{}.", view("0", "v", i64::MAX, 6)), FaultKind::Tensor, "too large");
    let two = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI10\n(I1\nttQ.";
    refuses(two, FaultKind::Invalid, "isn't three values");
}

#[test]
fn a_view_is_not_taken_for_another_or_for_a_storage() {
    let same = run(format!("({}{}t.", view("0", "v", 4, 6), view("0", "v", 4, 6))).tree;
    assert_eq!(same.storages().len(), 2);
    refuses(format!("({}{}t.", view("0", "v", 4, 6), view("0", "v", 4, 5)), FaultKind::Tensor, "as two");
    // A storage whose key looks like a view's.
    let named = "(S'storage'\nctorch\nFloatStorage\nS'v#0'\nS'cpu'\nI1\ntQ";
    let first = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI10\ntQ";
    let tree = run(format!("({first}{named}{}t.", view("0", "v", 4, 6))).tree;
    assert_eq!(tree.storages().len(), 3);
    assert_eq!(tree.storages()[2].bytes, 24);
}

// NumPy.

/// An array's pickle: its dtype's name and byte order, whether fortran, its shape and its data.
fn array(dtype: &str, order: &str, fortran: bool, shape: &str, data: &str) -> String {
    let dtype = format!("cnumpy\ndtype\n(S'{dtype}'\nI00\nI01\ntR(I3\nS'{order}'\nNNNI-1\nI-1\nI0\ntb");
    let fortran = if fortran { "I01\n" } else { "I00\n" };
    let empty = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR";
    format!("{empty}(I1\n({shape}t{dtype}{fortran}{data}tb.")
}

#[test]
fn arrays_are_read_as_data() {
    let Node::Array(read) = root(array("f8", ">", true, "I1\nI2\n", "S'0123456789abcdef'\n")) else {
        panic!("no array")
    };
    assert_eq!(
        (&*read.dtype, read.shape.as_slice(), read.fortran, read.scalar),
        (">f8", &[1, 2][..], true, false)
    );
    assert!(matches!(read.data, ArrayData::Bytes(_)));
    let Node::Array(read) = root(array("O8", "|", false, "I2\n", "(NNl")) else { panic!("no array") };
    assert!(matches!(read.data, ArrayData::Values(_)));
    let scalar = "cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'i2'\nI00\nI01\ntRS'ab'\ntR.";
    let Node::Array(read) = root(scalar) else { panic!("no array") };
    assert_eq!((&*read.dtype, read.scalar), ("i2", true));
    let buffer = "cnumpy._core.numeric\n_frombuffer\n(c_codecs\nencode\n(Vabcd\ntRcnumpy\ndtype\n(S'u1'\ntR(I2\nI2\ntS'F'\ntR.";
    let Node::Array(read) = root(buffer) else { panic!("no array") };
    assert_eq!((read.shape.as_slice(), read.fortran), (&[2, 2][..], true));
    assert!(matches!(root(array("U2", "<", false, "I1\n", "S'12345678'\n")), Node::Array(_)));
}

#[test]
fn arrays_must_have_their_bytes() {
    for (dtype, order, shape, data, kind, word) in [
        ("f8", "<", "I2\n", "S'12345678'\n", FaultKind::Tensor, "2 elements of <f8 has 8 bytes"),
        ("O8", "|", "I3\n", "(NNl", FaultKind::Tensor, "3 elements"),
        ("f8", "<", "I-1\n", "S''\n", FaultKind::Tensor, "negative"),
        ("f8", "<", "I4294967296\nI4294967296\n", "S''\n", FaultKind::Tensor, "any machine can count"),
        ("f8", "?", "I1\n", "S''\n", FaultKind::Invalid, "byte order"),
        ("x8", "<", "I1\n", "S''\n", FaultKind::Invalid, "'<x8' is of no known form"),
        ("f", "<", "I1\n", "S''\n", FaultKind::Invalid, "no known form"),
        ("f8", "<", "I1\n", "I5\n", FaultKind::Invalid, "data is of type int"),
        ("f8", "<", "N", "S''\n", FaultKind::Invalid, "an integer is needed"),
    ] {
        refuses(array(dtype, order, false, shape, data), kind, word);
    }
    let empty = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR";
    refuses(format!("{empty}(NNtb."), FaultKind::Invalid, "no known form");
    refuses(format!("{empty}(NNNNNtb."), FaultKind::Invalid, "without a dtype");
    refuses("cnumpy.core.multiarray\n_reconstruct\n(NNNtR.", FaultKind::Invalid, "no known form");
    refuses("cnumpy\ndtype\n(S'f8'\ntR(tb.", FaultKind::Invalid, "no known form");
}

proptest::proptest! {
    /// Opcodes drawn so that many pickles get far.
    #[test]
    fn no_opcodes_make_it_panic(choice in proptest::collection::vec(0..40_usize, 0..60)) {
        const WORDS: [&[u8]; 40] = [
            b"(", b"0", b"1", b"2", b"N", b"\x88", b")", b"]", b"}", b"\x8f", b"t", b"\x85", b"\x86", b"\x87",
            b"l", b"d", b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"q\x00", b"h\x00", b"\x94", b"K\x01", b"R",
            b"b", b"\x81", b"o", b"Q", b"U\x07storage", b"ctorch\nFloatStorage\n", b"U\x01a",
            b"ctorch._utils\n_rebuild_tensor\n", b"ccollections\nOrderedDict\n", b"cm\nC\n", b"cnumpy\ndtype\n",
            b"cnumpy.core.multiarray\n_reconstruct\n", b"\x92",
        ];
        let mut bytes: Vec<u8> = choice.iter().flat_map(|&at| WORDS[at]).copied().collect();
        bytes.push(b'.');
        match read(&bytes, &ReadOptions::default()) {
            Ok(pickle) => {
                proptest::prop_assert!(pickle.bytes <= bytes.len() as u64);
                proptest::prop_assert_ne!(pickle.tree.walk(|_| {}), Err(WalkError::Path(0)));
            }
            Err(fault) => proptest::prop_assert!(fault.offset <= bytes.len() as u64),
        }
    }
}

#[test]
fn what_pytorch_cannot_build_is_refused() {
    let v2 = |storage: &str, grad: &str, metadata: &str| {
        format!(
            "ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\n{storage}\nS'0'\nS'cpu'\nI4\ntQI0\n(I4\nt(I1\nt{grad}N{metadata}tR."
        )
    };
    refuses(v2("LongStorage", "I01\n", ""), FaultKind::Invalid, "requires gradients");
    refuses(v2("FloatStorage", "I00\n", "(dS'conj'\nI01\ns"), FaultKind::Invalid, "only complex ones");
    refuses(v2("FloatStorage", "I00\n", "I5\n"), FaultKind::Invalid, "metadata is of type int");
    refuses("ctorch\ndevice\n(S'nope'\ntR.", FaultKind::Invalid, "'nope' is no device");
    refuses("ctorch.serialization\n_get_layout\n(S'torch.zzz'\ntR.", FaultKind::Invalid, "is no layout");
    refuses("ccollections\nOrderedDict\n(tRI5\nb.", FaultKind::Invalid, "a state for a value");
    let size = "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nSize\nctorch\nTensor\n((I1\nttNtR.";
    refuses(size, FaultKind::Invalid, "a tensor is needed");
}
