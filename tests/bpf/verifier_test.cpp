// How long the kernel's verifier takes for the programs, by its own count.
#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "bpf/loader.hpp"
#include "bpf/policies.hpp"
#include "bpf/questions.hpp"
#include "bpf/rooms.hpp"
#include "tests/bpf/bed.hpp"

namespace sepal::test {
namespace {

class Verifier : public BedTest {
 protected:
  const bpf::Place place_{"lab", "/nowhere"};
};

uint32_t verified_instructions(int program) {
  bpf_prog_info info{};
  uint32_t size = sizeof info;
  EXPECT_EQ(::bpf_obj_get_info_by_fd(program, &info, &size), 0);
  return info.verified_insns;
}

// Each command that looks at the rules loads them. 10,000 instructions, over all ways through a program, are some 30 ms
// of the verifier; a few branches more can be seconds.
TEST_F(Verifier, the_verifier_is_soon_through_with_every_program) {
  const auto slow_path = bpf::SlowPath::load(place_);
  const auto policies = bpf::Policies::load(place_);
  const auto questions = bpf::Questions::load(place_);
  const auto rooms = bpf::Rooms::load(place_);
  ASSERT_TRUE(slow_path && policies && questions && rooms);
  for (const bpf::Program* program : {&slow_path->neighbour(), &slow_path->slice(), &slow_path->icmp(),
                                      &policies->program(), &questions->program(), &rooms->program()}) {
    const uint32_t verified = verified_instructions(program->fd.get());
    EXPECT_GT(verified, 0U) << program->name;
    EXPECT_LT(verified, 10'000U) << program->name;
  }
}

}  // namespace
}  // namespace sepal::test
