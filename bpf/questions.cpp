// See questions.hpp.
#include "bpf/questions.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <question.skel.h>

#include <cerrno>

namespace sepal::bpf {

ObjectCode built_in_question_code() {
  ObjectCode code;
  code.bytes = ::question_bpf__elf_bytes(&code.size);
  return code;
}

Result<Questions> Questions::load(const Place& place, const ObjectCode& code) {
  auto pins = Pins::at(place.bpffs, place.instance);
  if (!pins) return Unexpected(pins.error());
  auto object = adopt(*pins, code, {"sepal_questions", "sepal_heard"});
  if (!object) return Unexpected(object.error());
  return Questions(std::move(*pins), std::move(*object));
}

Result<sepal_heard> Questions::heard() const {
  const int cpus = ::libbpf_num_possible_cpus();
  if (cpus < 1) return fail_errno(-cpus, "count the CPUs");
  std::vector<sepal_heard> by_cpu(static_cast<size_t>(cpus));
  const uint32_t key = 0;
  if (::bpf_map_lookup_elem(object_.maps[kHeard].fd.get(), &key, by_cpu.data()) != 0)
    return fail_errno(errno, "read what guests asked");
  sepal_heard sum{};
  for (const sepal_heard& one : by_cpu) {
    sum.heard += one.heard;
    sum.lost += one.lost;
    sum.unreadable += one.unreadable;
    sum.ignored += one.ignored;
  }
  return sum;
}

}  // namespace sepal::bpf
