// What libtorch has only in C++, as plain C functions for `ffi.rs`.
//
// Every function returns null, or a text that says what went wrong, which is freed by `ckpt_tch_free_text`:
// no exception leaves this file. Tensors are passed as tch passes them, as pointers to `at::Tensor`.

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#endif

// The numbers that `kind.rs` has.
static_assert(int(at::kByte) == 0 && int(at::kDouble) == 7 && int(at::kComplexDouble) == 10);
static_assert(int(at::kBool) == 11 && int(at::kQInt8) == 12 && int(at::kBFloat16) == 15);
static_assert(int(at::kFloat8_e5m2) == 23 && int(at::kFloat8_e4m3fnuz) == 26);
static_assert(int(at::kUInt16) == 27 && int(at::kUInt64) == 29 && int(at::kFloat8_e8m0fnu) == 44);
static_assert(int(at::kCPU) == 0 && int(at::kCUDA) == 1);

#ifdef CKPT_WITH_CUDA
// libtorch's CUDA half registers itself when it is loaded, and nothing that tch calls is in it: linkers that
// leave out what isn't needed leave it out, and then there are no CUDA devices. This address makes it needed:
// a constructor is never left out as unused.
namespace at::cuda {
int warp_size();
}
static int (*volatile cuda_is_needed)();
__attribute__((constructor)) static void need_cuda() { cuda_is_needed = &at::cuda::warp_size; }
#endif

namespace {

char out_of_memory[] = "there is no memory for the text of an error";

char *text(const char *what) noexcept {
  size_t size = std::strlen(what) + 1;
  char *copy = static_cast<char *>(std::malloc(size));
  return copy ? static_cast<char *>(std::memcpy(copy, what, size)) : out_of_memory;
}

template <typename Work> char *guarded(Work work) noexcept {
  try {
    work();
    return nullptr;
  } catch (const c10::Error &error) {
    return text(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return text(error.what());
  } catch (...) {
    return text("an exception of unknown type");
  }
}

// Bytes somewhere, as a tensor that doesn't own them.
at::Tensor bytes_at(const void *data, uint64_t len, at::Device device) {
  auto options = at::TensorOptions().dtype(at::kByte).device(device);
  return at::from_blob(const_cast<void *>(data), {static_cast<int64_t>(len)}, options);
}

// The bytes of a dense tensor.
at::Tensor bytes_of(const at::Tensor &tensor) {
  return bytes_at(tensor.const_data_ptr(), tensor.nbytes(), tensor.device());
}

bool holds(const at::Tensor &tensor) {
  size_t end = tensor.storage_offset() * tensor.itemsize() + tensor.nbytes();
  return tensor.is_contiguous() && end <= tensor.storage().nbytes();
}

// The CUDA runtime's functions, if libtorch brought it: asked for by name, they need no headers of CUDA.
template <typename Function> Function *runtime(const char *name) {
#if defined(__unix__) || defined(__APPLE__)
  return reinterpret_cast<Function *>(dlsym(RTLD_DEFAULT, name));
#else
  return nullptr;
#endif
}

void host_free(void *memory) {
  if (auto free_host = runtime<int(void *)>("cudaFreeHost"))
    free_host(memory);
}

// Allocates pinned memory of exactly this size; null where that can't be had.
void *host_alloc(uint64_t len) {
  constexpr unsigned portable = 1;
  void *memory = nullptr;
  auto allocate = runtime<int(void **, size_t, unsigned)>("cudaHostAlloc");
  if (!allocate || !runtime<int(void *)>("cudaFreeHost"))
    return nullptr;
  if (allocate(&memory, len, portable) == 0)
    return memory;
  // The runtime remembers the error, and libtorch would take it for its own next one.
  if (auto forget_error = runtime<int()>("cudaGetLastError"))
    forget_error();
  return nullptr;
}

at::Generator generator(int8_t type, int8_t index) {
  return at::globalContext().defaultGenerator(at::Device(at::DeviceType(type), index));
}

} // namespace

extern "C" {

void ckpt_tch_free_text(char *text) noexcept {
  if (text != out_of_memory)
    std::free(text);
}

// ---- tensors ----

struct CkptFacts {
  int32_t kind;         // at::ScalarType
  int8_t device_type;   // at::DeviceType
  int8_t device_index;  // none: -1
  bool is_dense;        // with strides and a storage
  bool is_contiguous;   // row-major, and no operation on its elements is pending
  const void *data;     // of the first element, where it is dense and contiguous
  uint64_t len;         // in bytes; 0 where the storage no longer has as many
};

char *ckpt_tch_describe(const at::Tensor *tensor, CkptFacts *facts) noexcept {
  return guarded([&] {
    TORCH_CHECK(tensor->defined(), "the tensor is undefined");
    facts->kind = int32_t(tensor->scalar_type());
    facts->device_type = int8_t(tensor->device().type());
    facts->device_index = int8_t(tensor->device().index());
    facts->is_dense = tensor->layout() == at::kStrided && tensor->has_storage() && !tensor->is_meta();
    facts->is_contiguous =
        facts->is_dense && tensor->is_contiguous() && !tensor->is_conj() && !tensor->is_neg();
    if (facts->is_contiguous && holds(*tensor)) {
      facts->data = tensor->const_data_ptr();
      facts->len = tensor->nbytes();
    }
  });
}

// Makes what a checkpoint has of a tensor: row-major, without pending operations, without history; on the
// host unless it is on a CUDA device. Shares the storage where all of that holds already.
char *ckpt_tch_settle(const at::Tensor *tensor, at::Tensor **out) noexcept {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    at::Tensor settled = tensor->detach();
    if (!settled.is_cpu() && !settled.is_cuda())
      settled = settled.cpu();
    if (!settled.is_quantized())
      settled = settled.resolve_conj().resolve_neg();
    *out = new at::Tensor(settled.contiguous());
  });
}

// Copies a part of a contiguous tensor's bytes to the host, after all work that its device was given.
char *ckpt_tch_read(const at::Tensor *tensor, uint64_t offset, void *out, uint64_t len) noexcept {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    TORCH_CHECK(holds(*tensor), "the tensor's storage was made smaller");
    TORCH_CHECK(offset <= tensor->nbytes() && len <= tensor->nbytes() - offset, "reading past the end");
    if (len == 0)
      return;
    at::Device device = tensor->device();
    c10::DeviceGuard guard(device);
    // The reading thread's current stream needn't be the one that the values are computed on.
    if (!device.is_cpu())
      c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
    const char *start = static_cast<const char *>(tensor->const_data_ptr()) + offset;
    bytes_at(out, len, at::kCPU).copy_(bytes_at(start, len, device));
  });
}

// Overwrites a tensor with elements of a kind that lie in the host's memory.
char *ckpt_tch_fill(const at::Tensor *tensor, int32_t kind, const void *bytes, uint64_t len) noexcept {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto type = static_cast<at::ScalarType>(kind);
    TORCH_CHECK(tensor->layout() == at::kStrided && !tensor->is_meta(), "the tensor isn't dense");
    TORCH_CHECK(uint64_t(tensor->numel()) * c10::elementSize(type) == len, "another number of bytes");
    if (len == 0)
      return;
    bool is_plain = tensor->is_contiguous() && !tensor->is_conj() && !tensor->is_neg();
    if (is_plain && tensor->scalar_type() == type) {
      bytes_of(*tensor).copy_(bytes_at(bytes, len, at::kCPU));
      tensor->unsafeGetTensorImpl()->bump_version();
    } else {
      // The bytes may lie at any address; elements may not.
      at::Tensor elements = at::empty(tensor->sizes(), at::TensorOptions().dtype(type));
      std::memcpy(elements.mutable_data_ptr(), bytes, len);
      tensor->copy_(elements);
    }
  });
}

// ---- staging ----

struct CkptCopy {
  const at::Tensor *source;
  void *target;
  uint64_t len;
};

// Copies contiguous tensors of one device to the host, after all work that the calling thread's current
// stream was given, on another stream, all of them in flight at once. Returns when all bytes are there.
char *ckpt_tch_stage(int8_t type, int8_t index, const CkptCopy *copies, size_t count) noexcept {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    at::Device device{at::DeviceType(type), index};
    for (size_t i = 0; i < count; ++i) {
      TORCH_CHECK(holds(*copies[i].source), "a tensor's storage was made smaller");
      TORCH_CHECK(copies[i].source->nbytes() == copies[i].len, "a tensor has another size than its place");
    }
    auto copy_all = [&](bool non_blocking) {
      for (size_t i = 0; i < count; ++i)
        if (copies[i].len > 0)
          bytes_at(copies[i].target, copies[i].len, at::kCPU)
              .copy_(bytes_of(*copies[i].source), non_blocking);
    };
    if (device.is_cpu())
      return copy_all(false);
    c10::impl::VirtualGuardImpl guard(device.type());
    c10::Stream compute = guard.getStream(device);
    c10::Stream own = guard.getStreamFromGlobalPool(device, /*isHighPriority=*/true);
    c10::Event computed(device.type());
    computed.record(compute);
    computed.block(own);
    c10::StreamGuard on_own(own);
    try {
      copy_all(true);
    } catch (...) {
      // What was started goes on writing to the targets: they must live until it is done.
      guard.synchronizeStream(own);
      throw;
    }
    guard.synchronizeStream(own);
  });
}

struct CkptHostMemory {
  at::DataPtr data;       // of an allocator, or
  void *pinned = nullptr; // of the CUDA runtime

  ~CkptHostMemory() {
    if (pinned)
      host_free(pinned);
  }
};

// Allocates memory that copies from a device are fast into, filled with zeros.
char *ckpt_tch_pin(int8_t type, int8_t index, uint64_t len, void **start, CkptHostMemory **out) noexcept {
  return guarded([&] {
    at::Device device{at::DeviceType(type), index};
    auto memory = std::make_unique<CkptHostMemory>();
    if (device.is_cuda()) {
      at::globalContext().lazyInitDevice(at::kCUDA);
      c10::DeviceGuard guard(device);
      // libtorch's own allocator rounds up to a power of two, which is up to twice the state.
      memory->pinned = host_alloc(len);
      if (!memory->pinned)
        memory->data = at::globalContext().getPinnedMemoryAllocator(at::kCUDA)->allocate(len);
    } else {
      memory->data = c10::GetCPUAllocator()->allocate(len);
    }
    *start = memory->pinned ? memory->pinned : memory->data.get();
    if (len > 0)
      std::memset(*start, 0, len);
    *out = memory.release();
  });
}

void ckpt_tch_unpin(CkptHostMemory *memory) noexcept { delete memory; }

// ---- random state ----

// Returns the state of a device's default generator, as bytes in a tensor on the host.
char *ckpt_tch_generator_state(int8_t type, int8_t index, at::Tensor **out) noexcept {
  return guarded([&] {
    at::Generator gen = generator(type, index);
    std::lock_guard<std::mutex> lock(gen.mutex());
    *out = new at::Tensor(gen.get_state());
  });
}

char *ckpt_tch_set_generator_state(int8_t type, int8_t index, const void *bytes, uint64_t len) noexcept {
  return guarded([&] {
    at::Tensor state = bytes_at(bytes, len, at::kCPU).clone();
    at::Generator gen = generator(type, index);
    std::lock_guard<std::mutex> lock(gen.mutex());
    gen.set_state(state);
  });
}

// ---- arithmetic that tch has without its factor ----

char *ckpt_tch_add(const at::Tensor *target, const at::Tensor *other, double alpha) noexcept {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    target->add_(*other, alpha);
  });
}

char *ckpt_tch_addcmul(const at::Tensor *target, const at::Tensor *one, const at::Tensor *two,
                       double value) noexcept {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    target->addcmul_(*one, *two, value);
  });
}

char *ckpt_tch_addcdiv(const at::Tensor *target, const at::Tensor *one, const at::Tensor *two,
                       double value) noexcept {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    target->addcdiv_(*one, *two, value);
  });
}

// Multiplies by a number as Python's `tensor.mul_(number)` does. C++'s function of a scalar has the factors the
// other way round, and rounds the number to the tensor's dtype first.
char *ckpt_tch_mul(const at::Tensor *target, double factor) noexcept {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    at::Tensor number = at::scalar_tensor(factor, at::TensorOptions().dtype(at::kDouble));
    number.unsafeGetTensorImpl()->set_wrapped_number(true);
    target->mul_(number);
  });
}

// Takes the gradient off a tensor, as Python's `tensor.grad = None` does: tch can only make it zeros.
char *ckpt_tch_clear_gradient(const at::Tensor *tensor) noexcept {
  return guarded([&] { tensor->mutable_grad() = at::Tensor(); });
}

} // extern "C"
