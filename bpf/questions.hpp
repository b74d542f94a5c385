// The program that copies guests' questions to the agent, and the ring it writes to.
//
// In bpffs, per instance, beside what loader.hpp names: sepal_question, sepal_questions, sepal_heard. The ring outlives
// the agent like the rest: what is asked while it is away waits there, as far as it fits.
#pragma once

#include "bpf/loader.hpp"
#include "bpf/ring.hpp"
#include "bpf/shared.h"

namespace sepal::bpf {

ObjectCode built_in_question_code();

class Questions {
 public:
  // As SlowPath::load: loads the program, adopts what is pinned, pins nothing.
  static Result<Questions> load(const Place& place, const ObjectCode& code = built_in_question_code());

  [[nodiscard]] const Program& program() const { return object_.program; }
  // Names this object has in bpffs.
  [[nodiscard]] std::vector<std::string> names() const { return object_.names(); }
  Result<void> pin() { return bpf::pin(pins_, object_); }

  // The ring, for its one reader.
  [[nodiscard]] Result<Ring> open_ring() const { return Ring::open(object_.maps[kRing].fd.get()); }
  // Summed over the CPUs.
  [[nodiscard]] Result<sepal_heard> heard() const;

 private:
  enum Which : size_t { kRing, kHeard };  // in the object's order
  Questions(Pins pins, Adopted object) : pins_(std::move(pins)), object_(std::move(object)) {}

  Pins pins_;
  Adopted object_;
};

}  // namespace sepal::bpf
