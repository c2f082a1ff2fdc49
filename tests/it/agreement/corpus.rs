//! The corpus: files from public projects, some crafted, some hostile.
//!
//! `MANIFEST.tsv` says of each what PyTorch 2.13 and safetensors 0.8 say. Those that load are loaded again
//! for their values; nothing else is done with the others.

use std::path::{Path, PathBuf};

use super::verdicts::{Expected, Table, check, expected};
use super::{oracle, read};
use crate::dump;

/// The columns of the manifest that are used here.
const FILE: usize = 0;
const VERDICT: usize = 9;

/// What ckpt says of the files that PyTorch or safetensors refuses, and of those it is stricter with.
const TABLE: &[Expected] = expected! {
    // Stricter: they load, and two readers could see different contents, or damage went unseen.
    "crafted/pt/bitflip_tensor_data.pt" => Corrupted ChecksumMismatch: "PyTorch checks no checksum",
    "crafted/pt/bitflip_data_pkl.pt" => Corrupted ChecksumMismatch: "PyTorch checks no checksum",
    "crafted/pt/{bitflip_cd_crc_first,cd_crc_wrong}.pt" => Corrupted HeaderDisagrees: "the checksum's copies disagree",
    "crafted/pt/{bitflip_lfh_name_data0,lfh_name_differs}.pt" => Corrupted HeaderDisagrees: "PyTorch ignores the local name",
    "crafted/pt/cd_method_deflate_on_stored.pt" => Corrupted HeaderDisagrees: "PyTorch returns uninitialised memory",
    "crafted/pt/cd_offset_to_other.pt" => Corrupted EntriesOverlap: "PyTorch loads another tensor's bytes",
    "crafted/pt/dup_data0_first_differs.pt" => Incompatible Ambiguous: "one reader takes the first, another the last",
    "crafted/pt/two_concatenated.pt" => Corrupted DirectoryDamaged: "one reader takes the first archive, another the last",
    "crafted/pt/pk_deep_tuple_200k.pt" => Incompatible TooComplex: "readers that recurse exhaust their stack",
    "crafted/pt/pk_self_containing_dict.pt" => Incompatible TooComplex: "a container contains itself",
    "crafted/safetensors/dup_key_*.safetensors" => Incompatible Ambiguous: "one reader takes the first, another the last",
    "crafted/safetensors/info_as_array.safetensors" => Incompatible HeaderMalformed: "the specification asks for a map",

    // Beyond PyTorch: read as data, with a note.
    "elixir-nx+bumblebee/*/{noncontiguous_numpy_array,numpy_arrays}.*.pt" => Valid TorchRefuses: "NumPy arrays are data",

    // Unsafe, or crafted with sound checksums: not damage.
    "protectai+modelscan/*/unsafe_zip_pytorch.pt" => Incompatible NeedsTrust: "it calls os.system",
    "crafted/pt/pk_{global_getattr_not_called,storage_unknown_type,torch_load_ref}.pt" => Incompatible NeedsTrust: "a name outside the list",
    "crafted/pt/pk_{offset_negative,qtensor_stride_small_oob,shape_negative,stride_negative}.pt" => Incompatible TensorOutOfBounds: "its checksum is right: made so",
    "crafted/pt/pk_{bad_utf8,long1_truncated,rebuild_no_args,setitem_on_str,setitems_odd,stack_underflow,unhashable_key}.pt" => Incompatible PickleInvalid: "its checksum is right: made so",
    "crafted/pt/byteorder_middle.pt" => Incompatible ByteOrderUnknown: "neither little nor big",
    "crafted/pt/rezip_lzma.pt" => Incompatible UnsupportedMethod: "PyTorch reads stored and deflated records",
    "crafted/pt/two_topdirs_decoy_first.pt" => Incompatible Ambiguous: "readers differ in which folder they take",
    "crafted/pt/version_99.pt" => Incompatible ContainerTooNew: "for a PyTorch to come",
    "crafted/safetensors/dtype_int.safetensors" => Incompatible HeaderMalformed: "sound JSON of another form",
    "crafted/safetensors/dtype_{EMPTY,F32_space,F6_E2M3,F8,I4}.safetensors" => Incompatible DtypeUnknown: "no framework has the dtype",
    "crafted/safetensors/dup_{inner_shape,metadata}.safetensors" => Incompatible Ambiguous: "readers differ in which they take",
    "crafted/safetensors/{metadata_int_value,string_shape,root_array,root_string}.safetensors" => Incompatible HeaderMalformed: "sound JSON of another form",
    "crafted/safetensors/{json_deep_200,zero_times_huge}.safetensors" => Incompatible TooComplex: "beyond what readers can hold",

    // Damaged.
    "*/noop_no_archive*/model.pt" => Corrupted Empty: "no bytes",
    "pytorch+serve/*/regular_model/*.pt" => Corrupted Empty: "no bytes",
    "crafted/*/{empty.pt,filesize_0.safetensors}" => Corrupted Empty: "no bytes",
    "crafted/*/all_zero_*" => Corrupted AllZero: "never written back",
    "crafted/pt/{one_byte.pt,legacy_trunc_90pct.pt}" => Corrupted Truncated: "cut",
    "crafted/pt/legacy_trunc_10pct.pt" => Corrupted PickleDamaged: "cut within the pickles",
    "crafted/pt/{trunc_*,zeroed_tail512,bitflip_eocd_sig,pk_only,trailing_70000}.pt" => Corrupted DirectoryMissing: "the archive's end isn't there",
    "crafted/pt/trailing_zeros_4096.pt" => Corrupted StrayBytes: "bytes behind the archive",
    "crafted/pt/eocd_count_plus5.pt" => Corrupted DirectoryDamaged: "fewer entries than counted",
    "crafted/pt/cd_size_zero.pt" => Corrupted HeaderDisagrees: "two sizes of one entry",
    "crafted/pt/{missing_storage0,pk_key_traversal}.pt" => Corrupted RecordMissing: "a record isn't where it must be",
    "crafted/pt/rezip_abs.pt" => Incompatible Ambiguous: "absolute names: unpacking would write elsewhere",
    "crafted/pt/{bomb_50MB_storage_deflated,pk_storage_numel_*,storage0_long}.pt" => Corrupted StorageSize: "a storage of another size than its tensors' is as good as cut",
    "crafted/safetensors/{filesize_7,filesize_9,no_data}.safetensors" => Corrupted Truncated: "cut",
    "syoyo+safetensors-cpp/*/safetensors_abuse_attempt_1.safetensors" => Corrupted Truncated: "a header longer than the file",
    "crafted/safetensors/n_{100000001,u64max,zero_with_data}.safetensors" => Corrupted HeaderLength: "an impossible length",
    "crafted/safetensors/{F4_odd_count_1byte,shape_overflow}.safetensors" => Corrupted TensorSize: "dtype and shape ask for other bytes",
    "crafted/safetensors/{empty_obj_trailing,hole,overlap,trailing_1,two_concatenated,zero_dim_inside_range}.safetensors" => Corrupted DataLayout: "tensors must cover the data exactly",
    "crafted/safetensors/{bitflip_n,json_*,lead_bom,leading_zero_int,missing_shape,n_minus_1,name_bad_utf8,name_raw_control,negative_offset,one_offset}.safetensors" => Corrupted HeaderMalformed: "no JSON as specified",
    "mmaitre314+picklescan/*/{bad_pytorch.pt,not_a_pickle.bin}" => Corrupted UnknownFormat: "a checkpoint's name over unknown bytes",

    // Other formats, recognised by their content; most of the pickles are hostile.
    "*.npy" => Incompatible ForeignFormat: "a NumPy array",
    "*.npz" => Incompatible ForeignFormat: "a NumPy archive",
    "*/tar_*.tar" => Incompatible ForeignFormat: "PyTorch 0.1's tar, which its safe reader refuses",
    "*/malicious-invalid-bytes.pkl" => Incompatible UnknownFormat: "no pickle either: its first opcode doesn't end",
    "*.{pkl,pickle}" => Incompatible ForeignFormat: "a plain pickle",
    "mmaitre314+picklescan/*/{pytorch_magic_bypass.pt,GHSA-jgw4-cr84-mqxg.bin}" => Incompatible ForeignFormat: "a plain pickle under a checkpoint's name",
    "crafted/dcp/basic/.metadata" => Corrupted ArtifactMissing: "its shards aren't in the corpus",
    "*.7z" => Incompatible ForeignFormat: "a 7z archive",
    "crafted/safetensors/html_error_page.safetensors" => Incompatible ForeignFormat: "an HTML page",
    "{LaurentMazare+tch-rs/*/foo*,mlverse+torch/*/linear}.pt" => Incompatible ForeignFormat: "TorchScript",
    "dotnet+TorchSharp/*/{*.script.dat,exported.method.dat,*_out.dat,shakespeare.pt.zip}" => Incompatible ForeignFormat: "TorchScript",
    "*.jit" => Incompatible ForeignFormat: "TorchScript",
    "dotnet+TorchSharp/*.dat" => Incompatible UnknownFormat: "TorchSharp's own format",
    "*/{broken.pt,deepspeed.pt}" => Incompatible UnknownFormat: "text",
    "*.mar" => Incompatible ForeignFormat: "an archive of TorchServe",
    "*/malicious1_crc.zip" => Corrupted ChecksumMismatch: "a wrong checksum, to stop scanners (CVE-2025-10156)",
    "*/malicious1_central_directory.zip" => Corrupted HeaderDisagrees: "two names of one entry (CVE-2025-1944)",
    "*/{*password_protected,malicious1_0x1,malicious1_0x40,aes_archive,ignore_encryption_flag}.zip" => Incompatible Encrypted: "encrypted",
    "zip-rs+zip2/*/{extended_timestamp_bad,invalid_*,zip64_demo}.zip" => Corrupted DirectoryDamaged: "the directory's parts disagree",
    "zip-rs+zip2/*/deflate64_issue_25.zip" => Corrupted DirectoryMissing: "the archive's end isn't there",
    "zip-rs+zip2/*/{comment_garbage,misaligned_comment}.zip" => Corrupted StrayBytes: "bytes behind the archive",
    "zip-rs+zip2/*/{implode,reduce,shrink,ppmd,xz}.zip" => Incompatible UnsupportedMethod: "methods that no checkpoint reader has",
    "zip-rs+zip2/*/raw_deflate64_index_out_of_bounds.zip" => Corrupted EntryOutOfBounds: "an entry larger than the archive",
    "*.zip" => Incompatible ForeignFormat: "an archive without a checkpoint",
};

/// A valid file that the oracle itself can't dump: NumPy stops at 64 dimensions. The `safetensors`
/// crate is held against its bytes.
const BEYOND_THE_ORACLE: &str = "crafted/safetensors/rank_5000.safetensors";

/// A file of the corpus.
pub(crate) struct File {
    name: String,
    pub(crate) path: PathBuf,
    /// Whether PyTorch or safetensors loads it.
    loads: bool,
}

/// Reads the manifest.
pub(crate) fn files(corpus: &Path) -> Vec<File> {
    let text = std::fs::read_to_string(corpus.join("MANIFEST.tsv")).expect("the manifest is there");
    let rows = text.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.map(|row| File {
        name: row[FILE].to_owned(),
        path: corpus.join(row[FILE]),
        loads: row[VERDICT].starts_with("OK"),
    })
    .collect()
}

#[test]
fn verdicts_of_the_corpus_are_those_of_the_frameworks() {
    let corpus = match oracle::corpus() {
        Ok(corpus) => corpus,
        Err(reason) => return oracle::skip("verdicts of the corpus", &reason),
    };
    let table = Table::new(TABLE);
    let files = files(&corpus);
    let wrong: Vec<_> = files
        .iter()
        .filter_map(|file| {
            let report = ckpt::verify(&file.path, &ckpt::VerifyOptions::default());
            check(&file.name, &report, file.loads, &table).err()
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), files.len(), wrong.join("\n"));
    assert!(table.unused().is_empty(), "entries that no file needs: {:#?}", table.unused());
}

#[test]
fn values_of_the_corpus_are_those_of_the_frameworks() {
    let (corpus, python) = match oracle::corpus().and_then(|corpus| Ok((corpus, oracle::python()?))) {
        Ok(found) => found,
        Err(reason) => return oracle::skip("values of the corpus", &reason),
    };
    let table = Table::new(TABLE);
    let files: Vec<_> = files(&corpus).into_iter().filter(|file| file.loads).collect();
    let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    let answers = oracle::ask(&python, &paths);
    let wrong: Vec<_> = files
        .iter()
        .filter(|file| table.find(&file.name).is_none() && !file.name.ends_with(BEYOND_THE_ORACLE))
        .filter_map(|file| {
            let answer = &answers[&file.path];
            let result = match (&answer.values, &answer.error) {
                (Some(values), _) => compare(&file.path, values),
                (None, error) => Err(format!("the manifest says that it loads; now: {error:?}")),
            };
            result.err().map(|difference| format!("{}: {difference}", file.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

fn compare(path: &Path, theirs: &serde_json::Value) -> Result<(), String> {
    let bytes = std::fs::read(path).expect("the corpus's files are there");
    read::compare(&bytes, &dump::from_json(theirs))
}
