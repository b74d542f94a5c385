// Packets that our filters drop, as they are dropped (drop_watch.bpf.c). In the kernel as long as this lives, and in no
// packet's way before or after. Takes a kernel with BTF and tracing of functions.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/result.hpp"
#include "bpf/drop_watch.h"
#include "bpf/ring.hpp"

struct drop_watch_bpf;

namespace sepal::bpf {

struct DropsWanted {
  std::array<uint8_t, SEPAL_DROP_COOKIE_ZONE> cookie{};  // what the cookies of the filters begin with:
  uint32_t cookie_bytes = SEPAL_DROP_COOKIE_INSTANCE;    // so many bytes of it
  uint32_t per_second = 100;                             // told; more are counted only
};

class DropWatch {
 public:
  // Of this process's network namespace. Errc::unsupported names what the kernel lacks.
  static Result<DropWatch> open(const DropsWanted& wanted);

  [[nodiscard]] int descriptor() const { return ring_->descriptor(); }
  // As Ring::read, of struct sepal_drop.
  Result<size_t> read(const Ring::Sink& sink, size_t records_max) { return ring_->read(sink, records_max); }
  // Dropped by these filters beside those that read() tells of.
  [[nodiscard]] uint64_t not_told() const;

 private:
  struct Free {
    void operator()(::drop_watch_bpf* object) const;
  };
  DropWatch(std::unique_ptr<::drop_watch_bpf, Free> object, std::unique_ptr<Ring> ring)
      : object_(std::move(object)), ring_(std::move(ring)) {}

  std::unique_ptr<::drop_watch_bpf, Free> object_;
  std::unique_ptr<Ring> ring_;
};

}  // namespace sepal::bpf
