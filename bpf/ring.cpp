// libbpf's ring buffer behind ring.hpp; it knows no bound, so records are counted here.
#include "bpf/ring.hpp"

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdint>

namespace sepal::bpf {

struct Ring::Reading {
  const Sink* sink = nullptr;
  size_t taken = 0;
  size_t most = 0;
};

namespace {

// A negative number ends libbpf's round; the record it is returned for is consumed.
constexpr int kEnough = -ECANCELED;

}  // namespace

void Ring::Free::operator()(::ring_buffer* ring) const { ::ring_buffer__free(ring); }

void Ring::FreeReading::operator()(Reading* reading) const { delete reading; }

Result<Ring> Ring::open(int map) {
  std::unique_ptr<Reading, FreeReading> reading(new Reading);
  const auto take = [](void* context, void* data, size_t size) {
    auto& state = *static_cast<Reading*>(context);
    (*state.sink)({static_cast<const std::byte*>(data), size});
    return ++state.taken < state.most ? 0 : kEnough;
  };
  std::unique_ptr<::ring_buffer, Free> ring(::ring_buffer__new(map, take, reading.get(), nullptr));
  if (!ring) return fail_errno(errno, "map a ring buffer");
  return Ring(std::move(reading), std::move(ring));
}

int Ring::descriptor() const { return ::ring_buffer__epoll_fd(ring_.get()); }

Result<size_t> Ring::read(const Sink& sink, size_t records_max) {
  if (records_max == 0) return size_t{0};
  *reading_ = {&sink, 0, records_max};
  const int result = ::ring_buffer__consume(ring_.get());
  reading_->sink = nullptr;
  if (result < 0 && result != kEnough) return fail_errno(-result, "read a ring buffer");
  return reading_->taken;
}

}  // namespace sepal::bpf
