// The loader against a real kernel and a bpffs of the test's own: pinned, adopted, upgraded, filled, removed.
#include "bpf/loader.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include "tests/bpf/bed.hpp"

namespace sepal::test {
namespace {

using bpf::Code;
using bpf::make_neighbour_key;
using bpf::make_neighbour_value;
using bpf::Neighbour;
using bpf::Place;
using bpf::Slice;
using bpf::SlowPath;

Neighbour neighbour(uint32_t number, uint8_t last_of_mac = 1) {
  const IpAddr address = IpAddr::v4(10, static_cast<uint8_t>(number >> 16U), static_cast<uint8_t>(number >> 8U & 0xffU),
                                    static_cast<uint8_t>(number & 0xffU));
  return {make_neighbour_key(IfIndex(1), Vid(), IpPrefix::host(address)),
          make_neighbour_value(SEPAL_ANSWER_NEIGHBOUR, MacAddr{{2, 0, 0, 0, 0, last_of_mac}})};
}
std::vector<Neighbour> neighbours(uint32_t count) {
  std::vector<Neighbour> entries;
  for (uint32_t i = 1; i <= count; ++i) entries.push_back(neighbour(i));
  return entries;
}

// The built-in programs, the neighbour one replaced by a test object.
struct Variant {
  explicit Variant(const std::string& object) : bytes(read_test_object(object)), code(bpf::built_in_code()) {
    code.neighbour = {bytes.data(), bytes.size()};
  }
  Bytes bytes;
  Code code;
};

std::vector<std::string> files(const Place& place) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(place.bpffs + "/sepal/" + place.instance)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}
const std::vector<std::string> kPinnedFiles{"sepal_icmp", "sepal_neigh", "sepal_neighbours_2", "sepal_slice",
                                            "sepal_slices"};

ino_t inode(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}
std::string pinned(const Place& place, const char* name) {
  return place.bpffs + "/sepal/" + place.instance + "/" + name;
}

// What the neighbour program says to an ARP request for `number`.
int ask(int program, uint32_t number) {
  Arp question;
  question.sender_ip = ip("10.9.9.9");
  const Neighbour asked = neighbour(number);
  std::copy_n(&asked.key.address[12], 4, question.target_ip.bytes.begin());
  return run(program, question.bytes()).verdict;
}
constexpr int kShot = 2;  // what the variant says to what its map knows
constexpr int kOk = 0;    // and to the rest

class Loader : public BedTest {
 protected:
  void SetUp() override {
    BedTest::SetUp();
    if (!IsSkipped()) bpffs_.emplace();
  }
  static SlowPath load(const Place& place, const Code& code = bpf::built_in_code()) {
    auto loaded = SlowPath::load(place, code);
    if (!loaded) throw std::runtime_error(loaded.error().message());
    return std::move(*loaded);
  }
  SlowPath load_and_pin(const Place& place, const Code& code = bpf::built_in_code()) {
    SlowPath slow_path = load(place, code);
    auto done = slow_path.pin();
    if (!done) throw std::runtime_error(done.error().message());
    return slow_path;
  }
  Place place() { return bpffs_->place(); }

  std::optional<Bpffs> bpffs_;
};

TEST_F(Loader, programs_are_called_as_rules_will_show_them) {
  const SlowPath slow_path = load(place());
  EXPECT_EQ(slow_path.neighbour().name, "sepal_neigh");
  EXPECT_EQ(slow_path.slice().name, "sepal_slice");
  EXPECT_NE(slow_path.neighbour().tag, slow_path.slice().tag);
  bpf_prog_info info{};
  uint32_t size = sizeof info;
  ASSERT_EQ(::bpf_obj_get_info_by_fd(slow_path.neighbour().fd.get(), &info, &size), 0);
  EXPECT_EQ(info.type, static_cast<uint32_t>(BPF_PROG_TYPE_SCHED_ACT));
  EXPECT_STREQ(info.name, "sepal_neigh");
  EXPECT_EQ(info.id, slow_path.neighbour().id);
  EXPECT_TRUE(std::equal(std::begin(info.tag), std::end(info.tag), slow_path.neighbour().tag.begin()));
}

TEST_F(Loader, loading_alone_leaves_no_trace) {
  {
    const SlowPath slow_path = load(place());
    EXPECT_FALSE(slow_path.is_pinned());
    EXPECT_EQ(slow_path.changes(neighbours(3))->added.size(), 3U);
  }
  EXPECT_FALSE(std::filesystem::exists(bpffs_->path() + "/sepal"));
}

TEST_F(Loader, pinning_makes_four_files_and_no_more) {
  const SlowPath slow_path = load_and_pin(place());
  EXPECT_TRUE(slow_path.is_pinned());
  EXPECT_EQ(files(place()), kPinnedFiles);
}

TEST_F(Loader, a_restart_adopts_the_programs_and_maps_that_are_there_and_writes_nothing) {
  uint32_t id = 0;
  std::array<uint8_t, 8> tag{};
  {
    SlowPath first = load_and_pin(place());
    ASSERT_EQ(first.sync_neighbours(neighbours(5)), 5U);
    ASSERT_EQ(first.sync_slices({{bpf::make_slice_key(ip("203.0.113.10"), 1024, 6), bpf::make_slice_value(1)}}), 1U);
    id = first.neighbour().id;
    tag = first.neighbour().tag;
  }
  const ino_t before = inode(pinned(place(), "sepal_neigh"));
  SlowPath second = load(place());
  EXPECT_TRUE(second.is_pinned());
  EXPECT_EQ(second.neighbour().id, id);
  EXPECT_EQ(second.neighbour().tag, tag);
  EXPECT_TRUE(second.changes(neighbours(5))->empty());
  ASSERT_TRUE(second.pin());
  EXPECT_EQ(second.sync_neighbours(neighbours(5)), 0U);
  EXPECT_EQ(inode(pinned(place(), "sepal_neigh")), before);
  EXPECT_EQ(second.changes(std::vector<Slice>{})->stale.size(), 1U);
}

TEST_F(Loader, an_upgrade_swaps_the_program_under_its_name_and_keeps_the_maps_content) {
  SlowPath old = load_and_pin(place());
  ASSERT_EQ(old.sync_neighbours(neighbours(2)), 2U);

  const Variant later("variant.bpf.o");
  SlowPath upgraded = load(place(), later.code);
  EXPECT_NE(upgraded.neighbour().tag, old.neighbour().tag);
  EXPECT_EQ(upgraded.slice().id, old.slice().id) << "the other program is the same and stays";
  EXPECT_FALSE(upgraded.is_pinned());
  EXPECT_EQ(load(place()).neighbour().id, old.neighbour().id) << "until it is pinned, the old one has the name";
  EXPECT_TRUE(upgraded.changes(neighbours(2))->empty()) << "the old map serves the new program";

  ASSERT_TRUE(upgraded.pin());
  EXPECT_EQ(files(place()), kPinnedFiles);
  EXPECT_EQ(load(place(), later.code).neighbour().id, upgraded.neighbour().id);
  EXPECT_EQ(ask(upgraded.neighbour().fd.get(), 2), kShot);
  EXPECT_EQ(ask(old.neighbour().fd.get(), 2), kPipe) << "rules that still name the old program run it";
  ASSERT_EQ(upgraded.sync_neighbours(neighbours(3)), 1U);
  EXPECT_EQ(ask(old.neighbour().fd.get(), 3), kPipe) << "with the map that is kept current";
}

TEST_F(Loader, somebody_who_opens_the_name_during_an_upgrade_always_finds_a_program) {
  load_and_pin(place());
  const Variant later("variant.bpf.o");
  std::atomic<bool> done = false;
  std::atomic<int> opened = 0;
  std::atomic<int> missed = 0;
  std::thread reader([&] {
    const std::string path = pinned(place(), "sepal_neigh");
    while (!done) {
      const UniqueFd fd(::bpf_obj_get(path.c_str()));
      ++(fd.valid() ? opened : missed);
    }
  });
  for (int i = 0; i < 20; ++i) {
    load_and_pin(place(), later.code);
    load_and_pin(place());
  }
  done = true;
  reader.join();
  EXPECT_EQ(missed, 0);
  EXPECT_GT(opened, 20);
}

TEST_F(Loader, a_start_that_was_killed_between_two_pins_is_completed_by_the_next) {
  {
    SlowPath first = load_and_pin(place());
    ASSERT_EQ(first.sync_neighbours(neighbours(4)), 4U);
  }
  for (const char* name : {"sepal_neigh", "sepal_slice", "sepal_slices"}) {
    ASSERT_EQ(::unlink(pinned(place(), name).c_str()), 0);
  }
  SlowPath next = load(place());
  EXPECT_FALSE(next.is_pinned());
  EXPECT_TRUE(next.changes(neighbours(4))->empty());
  ASSERT_TRUE(next.pin());
  EXPECT_TRUE(load(place()).is_pinned());
  EXPECT_EQ(files(place()), kPinnedFiles);
}

TEST_F(Loader, a_map_unpinned_by_hand_comes_back_with_its_content_from_the_program_that_uses_it) {
  {
    SlowPath first = load_and_pin(place());
    ASSERT_EQ(first.sync_neighbours(neighbours(4)), 4U);
  }
  ASSERT_EQ(::unlink(pinned(place(), "sepal_neighbours_2").c_str()), 0);
  SlowPath next = load(place());
  EXPECT_FALSE(next.is_pinned());
  EXPECT_TRUE(next.changes(neighbours(4))->empty());
  ASSERT_TRUE(next.pin());
  EXPECT_TRUE(load(place()).is_pinned());
  EXPECT_EQ(bpf::read_pinned(place())->neighbours.size(), 4U);
}

TEST_F(Loader, a_map_of_another_layout_under_our_name_is_a_conflict_that_names_it) {
  const Variant wide("variant_wide.bpf.o");
  load_and_pin(place(), wide.code);
  auto refused = SlowPath::load(place());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::conflict);
  EXPECT_NE(refused.error().message().find(pinned(place(), "sepal_neighbours_2")), std::string::npos)
      << refused.error().message();
  EXPECT_TRUE(load(place(), wide.code).is_pinned()) << "nothing was changed";
}

TEST_F(Loader, a_map_renamed_for_its_new_layout_begins_empty_and_takes_the_old_ones_place) {
  SlowPath old = load_and_pin(place());
  ASSERT_EQ(old.sync_neighbours(neighbours(2)), 2U);
  const Variant renamed("variant_renamed.bpf.o");
  const SlowPath upgraded = load_and_pin(place(), renamed.code);
  EXPECT_EQ(files(place()), (std::vector<std::string>{"sepal_icmp", "sepal_neigh", "sepal_neighbours_3", "sepal_slice",
                                                      "sepal_slices"}));
  EXPECT_EQ(ask(upgraded.neighbour().fd.get(), 2), kOk) << "its own map is empty";
  EXPECT_EQ(ask(old.neighbour().fd.get(), 2), kPipe) << "the old program keeps its map until its last rule is gone";
}

TEST_F(Loader, what_an_unfinished_pin_or_an_older_version_left_is_cleared_away) {
  const SlowPath slow_path = load_and_pin(place());
  for (const char* name : {"being_pinned", "sepal_neighbours"}) {
    ASSERT_EQ(::bpf_obj_pin(slow_path.neighbour().fd.get(), pinned(place(), name).c_str()), 0);
  }
  load_and_pin(place());
  EXPECT_EQ(files(place()), kPinnedFiles);
}

TEST_F(Loader, a_refused_program_is_an_error_in_the_verifiers_words_and_changes_nothing) {
  const SlowPath before = load_and_pin(place());
  const Variant refused("variant_refused.bpf.o");
  auto loaded = SlowPath::load(place(), refused.code);
  ASSERT_FALSE(loaded);
  const std::string message = loaded.error().message();
  EXPECT_NE(message.find("sepal_neigh"), std::string::npos) << message;
  EXPECT_NE(message.find("map_value_or_null"), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_EQ(load(place()).neighbour().id, before.neighbour().id);
}

TEST_F(Loader, two_instances_stand_side_by_side) {
  const Place one = bpffs_->place("one");
  const Place two = bpffs_->place("two");
  SlowPath first = load_and_pin(one);
  SlowPath second = load_and_pin(two);
  EXPECT_NE(first.neighbour().id, second.neighbour().id);
  ASSERT_EQ(first.sync_neighbours(neighbours(1)), 1U);
  EXPECT_EQ(ask(first.neighbour().fd.get(), 1), kPipe);
  EXPECT_EQ(ask(second.neighbour().fd.get(), 1), kUnspec);
  EXPECT_EQ(bpf::remove(one), true);
  EXPECT_EQ(files(two), kPinnedFiles);
  EXPECT_EQ(load(two).neighbour().id, second.neighbour().id);
}

TEST_F(Loader, remove_leaves_nothing_in_bpffs_and_no_program_in_the_kernel) {
  uint32_t id = 0;
  {
    SlowPath slow_path = load_and_pin(place());
    ASSERT_EQ(slow_path.sync_neighbours(neighbours(10)), 10U);
    id = slow_path.neighbour().id;
  }
  EXPECT_EQ(bpf::remove(place()), true);
  EXPECT_FALSE(std::filesystem::exists(bpffs_->path() + "/sepal"));
  EXPECT_EQ(bpf::remove(place()), false) << "nothing was left to remove";
  // The kernel frees what nobody refers to a moment later.
  bool gone = false;
  for (int i = 0; i < 200 && !gone; ++i) {
    const UniqueFd fd(::bpf_prog_get_fd_by_id(id));
    gone = !fd.valid() && errno == ENOENT;
    if (!gone) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(gone);
}

TEST_F(Loader, without_bpffs_there_is_nothing_to_read_or_remove) {
  const Place nowhere{"lab", "/nowhere"};
  EXPECT_EQ(bpf::remove(nowhere), false);
  auto contents = bpf::read_pinned(nowhere);
  ASSERT_TRUE(contents);
  EXPECT_TRUE(contents->neighbours.empty());
  EXPECT_TRUE(contents->slices.empty());
}

TEST_F(Loader, pinning_where_a_mount_of_ours_would_not_last_is_refused_and_says_what_to_do) {
  char plain[] = "/tmp/plain.XXXXXX";
  ASSERT_NE(::mkdtemp(plain), nullptr);
  SlowPath slow_path = load({"lab", plain});
  auto done = slow_path.pin();
  ASSERT_FALSE(done) << "this process has a mount namespace of its own";
  EXPECT_EQ(done.error().code, Errc::unsupported);
  EXPECT_NE(done.error().message().find(std::string("mount -t bpf bpf ") + plain), std::string::npos)
      << done.error().message();
  EXPECT_EQ(::rmdir(plain), 0) << "nothing was made in it";
}

// Process 1 of a new pid namespace with its own /proc is a host of its own as far as mounts are concerned.
TEST_F(Loader, bpffs_is_mounted_where_it_is_missing) {
  char host[] = "/tmp/host.XXXXXX";
  ASSERT_NE(::mkdtemp(host), nullptr);
  const pid_t parent = ::fork();
  if (parent == 0) {
    if (::unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) ::_exit(10);
    const pid_t first = ::fork();
    if (first == 0) {
      if (::mount("proc", "/proc", "proc", 0, nullptr) != 0) ::_exit(11);
      auto loaded = SlowPath::load({"lab", host});
      if (!loaded) ::_exit(12);
      if (!loaded->pin()) ::_exit(13);
      ::_exit(::access(pinned({"lab", host}, "sepal_neigh").c_str(), F_OK) == 0 ? 0 : 14);
    }
    int status = 0;
    ::waitpid(first, &status, 0);
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 15);
  }
  int status = 0;
  ::waitpid(parent, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ::rmdir(host);
}

TEST_F(Loader, an_instance_name_that_bpffs_or_a_path_cannot_hold_is_refused) {
  for (const std::string& name : {std::string(), std::string("a.b"), std::string("../other"), std::string("a/b"),
                                  std::string(64, 'a'), std::string("a b")}) {
    auto loaded = SlowPath::load(bpffs_->place(name));
    ASSERT_FALSE(loaded) << name;
    EXPECT_EQ(loaded.error().code, Errc::invalid_config);
    EXPECT_FALSE(bpf::remove(bpffs_->place(name)));
  }
  EXPECT_TRUE(SlowPath::load(bpffs_->place(std::string(63, 'a'))));
}

// --- contents -----------------------------------------------------------------------------------------------------

TEST_F(Loader, sync_writes_what_differs_and_nothing_else) {
  SlowPath slow_path = load(place());
  EXPECT_EQ(slow_path.sync_neighbours(neighbours(10)), 10U);
  EXPECT_EQ(slow_path.sync_neighbours(neighbours(10)), 0U);
  std::vector<Neighbour> wanted = neighbours(10);
  wanted.erase(wanted.begin());      // one goes
  wanted[3] = neighbour(5, 99);      // one changes
  wanted.push_back(neighbour(700));  // one comes
  auto changes = slow_path.changes(wanted);
  ASSERT_TRUE(changes);
  EXPECT_EQ(changes->added, std::vector<Neighbour>{neighbour(700)});
  EXPECT_EQ(changes->changed, (std::vector<Neighbour>{neighbour(5, 99)}));
  EXPECT_EQ(changes->stale, std::vector<Neighbour>{neighbour(1)});
  EXPECT_EQ(slow_path.sync_neighbours(wanted), 3U);
  EXPECT_TRUE(slow_path.changes(wanted)->empty());
}

TEST_F(Loader, put_keeps_what_rules_may_still_lead_to_until_drop_stale) {
  SlowPath slow_path = load(place());
  ASSERT_EQ(slow_path.put(neighbours(2)), 2U);
  const std::vector<Neighbour> wanted{neighbour(3)};
  EXPECT_EQ(slow_path.put(wanted), 1U);
  EXPECT_EQ(ask(slow_path.neighbour().fd.get(), 1), kPipe);
  EXPECT_EQ(slow_path.drop_stale(wanted), 2U);
  EXPECT_EQ(ask(slow_path.neighbour().fd.get(), 1), kUnspec);
  EXPECT_EQ(ask(slow_path.neighbour().fd.get(), 3), kPipe);
}

TEST_F(Loader, a_map_is_read_whole_whatever_its_size) {
  for (const uint32_t count : {0U, 1U, 1023U, 1024U, 1025U, 2048U, 3000U}) {
    SlowPath slow_path = load(place());
    ASSERT_EQ(slow_path.sync_neighbours(neighbours(count)), count);
    EXPECT_TRUE(slow_path.changes(neighbours(count))->empty()) << count;
    EXPECT_EQ(slow_path.changes(std::vector<Neighbour>{})->stale.size(), count);
  }
}

TEST_F(Loader, nested_prefixes_of_one_network_are_entries_of_their_own) {
  std::vector<Neighbour> wanted;
  for (unsigned length = 0; length <= 128; ++length) {
    wanted.push_back({make_neighbour_key(IfIndex(1), Vid(), IpPrefix::make(ip("fd00:100::1"), length)),
                      make_neighbour_value(SEPAL_ANSWER_NEIGHBOUR, MacAddr{{2, 0, 0, 0, 0, 1}})});
  }
  SlowPath slow_path = load(place());
  EXPECT_EQ(slow_path.sync_neighbours(wanted), 129U);
  EXPECT_TRUE(slow_path.changes(wanted)->empty());
  wanted.erase(wanted.begin() + 64);
  EXPECT_EQ(slow_path.sync_neighbours(wanted), 1U);
  EXPECT_TRUE(slow_path.changes(wanted)->empty());
}

TEST_F(Loader, more_than_fits_is_refused_before_anything_is_written) {
  const Variant small("variant_small.bpf.o");  // five places, of which four are used
  SlowPath slow_path = load(place(), small.code);
  ASSERT_EQ(slow_path.sync_neighbours(neighbours(2)), 2U);
  auto refused = slow_path.sync_neighbours(neighbours(5));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unsupported);
  EXPECT_NE(refused.error().message().find("5 entries are wanted"), std::string::npos) << refused.error().message();
  EXPECT_TRUE(slow_path.changes(neighbours(2))->empty());
}

TEST_F(Loader, a_full_map_can_be_changed_and_can_exchange_all_its_entries) {
  const Variant small("variant_small.bpf.o");
  SlowPath slow_path = load(place(), small.code);
  ASSERT_EQ(slow_path.sync_neighbours(neighbours(4)), 4U);
  std::vector<Neighbour> changed = neighbours(4);
  changed[2] = neighbour(3, 99);
  auto written = slow_path.sync_neighbours(changed);
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(*written, 1U);
  const std::vector<Neighbour> others{neighbour(11), neighbour(12), neighbour(13), neighbour(14)};
  written = slow_path.sync_neighbours(others);
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(*written, 8U);
  EXPECT_TRUE(slow_path.changes(others)->empty());
}

TEST_F(Loader, an_entry_written_by_hand_with_bits_behind_its_prefix_is_the_same_entry) {
  SlowPath slow_path = load(place());
  Neighbour wanted = neighbour(0);
  wanted.key.prefix_bits -= 8;  // 10.0.0.0/24
  Neighbour by_hand = wanted;
  by_hand.key.address[15] = 77;
  const UniqueFd map = map_of(slow_path.neighbour().fd.get());
  ASSERT_EQ(::bpf_map_update_elem(map.get(), &by_hand.key, &by_hand.value, BPF_ANY), 0);
  EXPECT_TRUE(slow_path.changes({wanted})->empty());
  EXPECT_EQ(slow_path.sync_neighbours({wanted}), 0U);
  EXPECT_EQ(slow_path.sync_neighbours({}), 1U);
  EXPECT_EQ(ask(slow_path.neighbour().fd.get(), 5), kUnspec);
}

TEST_F(Loader, one_key_with_two_meanings_is_refused) {
  SlowPath slow_path = load(place());
  auto refused = slow_path.sync_neighbours({neighbour(1, 1), neighbour(1, 2)});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::internal);
  EXPECT_EQ(slow_path.sync_neighbours({neighbour(1), neighbour(1)}), 1U) << "said twice is said once";
}

TEST_F(Loader, pinned_contents_are_read_without_loading_anything) {
  {
    SlowPath slow_path = load_and_pin(place());
    ASSERT_EQ(slow_path.sync_neighbours(neighbours(3)), 3U);
    ASSERT_EQ(slow_path.sync_slices({{bpf::make_slice_key(ip("203.0.113.10"), 1024, 6), bpf::make_slice_value(5)}}),
              1U);
  }
  auto contents = bpf::read_pinned(place());
  ASSERT_TRUE(contents) << contents.error().message();
  EXPECT_EQ(contents->neighbours, neighbours(3));
  ASSERT_EQ(contents->slices.size(), 1U);
  EXPECT_EQ(bpf::to_string(contents->slices[0]), "203.0.113.10 ports 1024-2047 → slice 5");
}

}  // namespace
}  // namespace sepal::test
