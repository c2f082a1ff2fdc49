// Reads a file as libtorch's C++ side does (`loadz_multi` of the Rust crate `tch` is this call), and prints
// what it found: path, name, shape, and the CRC-32 of the elements in order.

#include <torch/csrc/jit/mobile/import_data.h>

#include <cstdint>
#include <fstream>
#include <iostream>

static uint32_t crc32(const uint8_t* bytes, size_t length) {
  uint32_t crc = 0xffffffff;
  for (size_t at = 0; at < length; ++at) {
    crc ^= bytes[at];
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) ? 0xedb88320 : 0);
    }
  }
  return ~crc;
}

int main(int count, char** paths) {
  for (int at = 1; at < count; ++at) {
    std::ifstream file(paths[at], std::ios::binary);
    try {
      for (const auto& [name, tensor] : torch::jit::_load_parameters(file)) {
        at::Tensor plain = tensor.detach().resolve_conj().resolve_neg().contiguous();
        std::cout << paths[at] << '\t' << name << '\t';
        for (int64_t length : tensor.sizes()) {
          std::cout << length << ',';
        }
        std::cout << '\t' << crc32(static_cast<const uint8_t*>(plain.data_ptr()), plain.nbytes()) << '\n';
      }
    } catch (const std::exception& error) {
      std::cerr << paths[at] << ": " << error.what() << '\n';
      return 1;
    }
  }
}
