// The reading end of a ring buffer map (linux:kernel/bpf/ringbuf.c): records that a program wrote, in order. A ring has
// one reader; who holds the instance's lock is it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "base/result.hpp"

struct ring_buffer;

namespace sepal::bpf {

class Ring {
 public:
  using Sink = std::function<void(std::span<const std::byte>)>;

  // `map`: descriptor of the map, borrowed for the call. What is in the ring already is read first.
  static Result<Ring> open(int map);

  // Readable when there are records. Borrowed: valid as long as this.
  [[nodiscard]] int descriptor() const;
  // Hands over up to `records_max` records, whole and in order, each valid during its call only; returns how many. The
  // rest stays, and the descriptor readable.
  Result<size_t> read(const Sink& sink, size_t records_max);

 private:
  struct Free {
    void operator()(::ring_buffer* ring) const;
  };
  struct Reading;
  struct FreeReading {
    void operator()(Reading* reading) const;
  };
  Ring(std::unique_ptr<Reading, FreeReading> reading, std::unique_ptr<::ring_buffer, Free> ring)
      : reading_(std::move(reading)), ring_(std::move(ring)) {}

  std::unique_ptr<Reading, FreeReading> reading_;  // outlives the ring, which points to it
  std::unique_ptr<::ring_buffer, Free> ring_;
};

}  // namespace sepal::bpf
