//! With the feature `tch`, compiles the shim for what libtorch has only in C++ (`src/tch/shim.cpp`); nothing
//! otherwise.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "tch")]
    if let Err(error) = tch::compile() {
        // Each line is told as an error of its own.
        for line in error.lines() {
            println!("cargo::error={line}");
        }
    }
}

#[cfg(feature = "tch")]
mod tch {
    use std::env;
    use std::path::PathBuf;
    use std::process::Command;

    /// The variables by which `torch-sys` finds libtorch: the shim must be made for the same one.
    const VARIABLES: [&str; 6] = [
        "LIBTORCH_USE_PYTORCH",
        "LIBTORCH",
        "LIBTORCH_INCLUDE",
        "LIBTORCH_LIB",
        "LIBTORCH_CXX11_ABI",
        "VIRTUAL_ENV",
    ];

    /// Prints the ABI of the C++ library, the directory with libraries, then those with headers.
    const ASK: &str = "
import torch
from torch.utils import cpp_extension
print(int(torch._C._GLIBCXX_USE_CXX11_ABI), cpp_extension.library_paths()[0], sep='\\n')
print(*cpp_extension.include_paths(), sep='\\n')
";

    /// What the compiler must know of libtorch.
    struct Libtorch {
        includes: Vec<PathBuf>,
        libraries: PathBuf,
        cxx11_abi: String,
    }

    pub(super) fn compile() -> Result<(), String> {
        for variable in VARIABLES {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        println!("cargo::rerun-if-changed=src/tch/shim.cpp");
        let libtorch = find()?;
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").includes(&libtorch.includes).warnings(false);
        build.define("_GLIBCXX_USE_CXX11_ABI", libtorch.cxx11_abi.as_str());
        if libtorch.libraries.join("libtorch_cuda.so").exists() {
            build.define("CKPT_WITH_CUDA", None);
        }
        build.file("src/tch/shim.cpp").try_compile("ckpt_tch").map_err(|error| error.to_string())?;
        // This package's own programs find libtorch again when they are run, without a variable that says where.
        if env::var_os("CARGO_CFG_UNIX").is_some() {
            println!("cargo::rustc-link-arg=-Wl,-rpath,{}", libtorch.libraries.display());
        }
        Ok(())
    }

    fn find() -> Result<Libtorch, String> {
        if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
            return of_python();
        }
        let root = env::var_os("LIBTORCH_INCLUDE").or_else(|| env::var_os("LIBTORCH"));
        let include = root.map_or_else(|| PathBuf::from("/usr"), PathBuf::from).join("include");
        if !include.join("ATen").is_dir() {
            return Err(format!(
                "there are no headers of libtorch in {}: set LIBTORCH to where it is, or LIBTORCH_USE_PYTORCH=1 \
                 for the one of Python",
                include.display()
            ));
        }
        let api = include.join("torch/csrc/api/include");
        let cxx11_abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
        let root = env::var_os("LIBTORCH_LIB").or_else(|| env::var_os("LIBTORCH"));
        let libraries = root.map_or_else(|| PathBuf::from("/usr"), PathBuf::from).join("lib");
        Ok(Libtorch { includes: vec![include, api], libraries, cxx11_abi })
    }

    fn of_python() -> Result<Libtorch, String> {
        let python = if env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
        let output = Command::new(python).args(["-c", ASK]).output();
        let output = output.map_err(|error| format!("{python} can't be run: {error}"))?;
        if !output.status.success() {
            return Err(format!("{python} has no PyTorch: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let mut next = || lines.next().ok_or_else(|| format!("{python} said nothing of its PyTorch"));
        let (cxx11_abi, libraries) = (next()?.to_owned(), next()?.into());
        Ok(Libtorch { includes: lines.map(PathBuf::from).collect(), libraries, cxx11_abi })
    }
}
