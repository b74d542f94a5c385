// The codec against a running kernel: what encode_add installs, a dump gives back, for every key and action; and the
// few things the codec relies on that only a kernel can tell. Needs root and flower: skipped elsewhere, run by suite
// vm.
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <set>

#include "base/unique_fd.hpp"
#include "netlink/message.hpp"
#include "netlink/transport.hpp"
#include "tc/codec/action_object.hpp"
#include "tc/codec/flower.hpp"
#include "tc/codec/qdisc.hpp"
#include "tc/rule/build.hpp"
#include "tests/unit/tc/codec/rule_generator.hpp"

namespace sepal::tc {
namespace {

using netlink::Bytes;
using netlink::BytesView;

constexpr IfIndex kVeth(0x1234);
constexpr IfIndex kPeer(0x5678);

// A loaded program of type sched_act.
struct Program {
  UniqueFd fd;
  Bpf rule;
};

Program load_program(const std::string& name, const std::vector<bpf_insn>& instructions) {
  Program out;
  const char* license = "GPL";
  bpf_attr attr{};
  attr.prog_type = BPF_PROG_TYPE_SCHED_ACT;
  attr.insns = reinterpret_cast<uintptr_t>(instructions.data());
  attr.insn_cnt = static_cast<uint32_t>(instructions.size());
  attr.license = reinterpret_cast<uintptr_t>(license);
  out.fd.reset(static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr)));
  bpf_prog_info info{};
  attr = {};
  attr.info.bpf_fd = static_cast<uint32_t>(out.fd.get());
  attr.info.info_len = sizeof info;
  attr.info.info = reinterpret_cast<uintptr_t>(&info);
  if (syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof attr) == 0) {
    std::copy_n(info.tag, out.rule.tag.size(), out.rule.tag.begin());
  }
  out.rule.name = name;
  return out;
}

constexpr bpf_insn move(uint8_t to, int32_t value) {
  return {BPF_ALU64 | BPF_MOV | BPF_K, static_cast<uint8_t>(to & 15U), 0, 0, value};
}
constexpr bpf_insn call(int32_t function) { return {BPF_JMP | BPF_CALL, 0, 0, 0, function}; }
constexpr bpf_insn leave() { return {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}; }

class Kernel : public testing::Test {
 protected:
  // A network namespace for this test with a veth and clsact on both ends.
  void SetUp() override {
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs root for a network namespace";
    auto opened = netlink::open_transport({NETLINK_ROUTE});
    ASSERT_TRUE(opened) << opened.error().message();
    transport_ = std::move(*opened);
    ASSERT_EQ(std::system("ip link add veth index 4660 type veth peer name peer index 22136 && "
                          "ip link set veth up && ip link set peer up"),
              0);
    for (const IfIndex device : {kVeth, kPeer}) {
      ASSERT_EQ(ask([&](Bytes& out) { return encode_clsact_add(out, device); }), 0);
    }
    Rule probe = rule(kVeth, 1, 1, Match().eth_type(kEthIpv4).ct_state(kCtTrk), {drop()});
    if (install(probe) == ENOENT) GTEST_SKIP() << "this kernel has no flower";
    ASSERT_EQ(remove(probe.id), 0);
  }

  static Rule rule(IfIndex device, uint32_t chain, uint16_t prio, Match match, std::vector<Action> actions) {
    Rule out;
    out.id = {device, chain, prio, kEthAll, 1};
    out.spec.match = std::move(match);
    out.spec.actions = std::move(actions);
    return out;
  }

  // Sends one request; 0 or the kernel's errno, its words in last_error_.
  template <typename Encode>
  int ask(const Encode& encode) {
    Bytes bytes;
    auto encoded = encode(bytes);
    EXPECT_TRUE(encoded) << encoded.error().message();
    int result = -1;
    auto sent = transport_->transact(bytes, [&](size_t, const netlink::Answer& answer) {
      result = answer ? 0 : answer.error().sys_errno;
      last_error_ = answer ? "" : answer.error().message();
    });
    EXPECT_TRUE(sent) << sent.error().message();
    return result;
  }

  int install(const Rule& wanted, const Cookie& cookie = {}, AddMode mode = AddMode::create) {
    EncodeContext context;
    context.program_fd = [this](const Bpf& bpf) {
      for (const Program& program : programs_) {
        if (program.rule.name == bpf.name) return program.fd.get();
      }
      return -1;
    };
    return ask([&](Bytes& out) { return encode_add(out, wanted, cookie, mode, context); });
  }
  int remove(const RuleId& id) {
    return ask([&](Bytes& out) { return encode_delete(out, id); });
  }

  std::map<RuleId, DecodedFilter> dump(IfIndex device, std::optional<uint32_t> chain, bool terse) {
    std::map<RuleId, DecodedFilter> out;
    Bytes request;
    EXPECT_TRUE(encode_dump(request, device, chain, terse));
    auto dumped = transport_->dump(request, [&](BytesView message) -> Result<void> {
      auto filter = decode_filter(message);
      if (!filter) return Unexpected(filter.error());
      if (!filter->is_head()) out.emplace(filter->rule.id, *filter);
      return {};
    });
    EXPECT_TRUE(dumped) << dumped.error().message();
    return out;
  }

  std::map<uint32_t, ActionObject> objects(std::string_view kind) {
    std::map<uint32_t, ActionObject> out;
    Bytes request;
    EXPECT_TRUE(encode_action_dump(request, kind));
    auto dumped = transport_->dump(request, [&](BytesView message) {
      return decode_actions_message(message, [&](const ActionObject& object) { out.emplace(object.index, object); });
    });
    EXPECT_TRUE(dumped) << dumped.error().message();
    return out;
  }

  // One frame out of the peer is one frame into the veth.
  void send_frame() {
    const UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(kPeer.value());
    std::array<uint8_t, 60> frame{};
    std::fill_n(frame.begin(), 6, uint8_t{0xff});
    frame[6] = 2;
    frame[12] = 0x88;
    frame[13] = 0xb5;  // local experimental EtherType
    ASSERT_EQ(sendto(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to), 60);
  }

  std::unique_ptr<netlink::Transport> transport_;
  std::vector<Program> programs_;
  std::string last_error_;
};

// The proof of every attribute, size and nest: a byte order wrong both ways would pass here, which is what the vectors
// of iproute2 are for.
TEST_F(Kernel, gives_back_every_key_and_action_as_installed) {
  programs_.push_back(load_program("sepal_test", {move(0, TC_ACT_PIPE), leave()}));
  ASSERT_TRUE(programs_.back().fd.valid());
  GeneratorOptions options;
  options.devices = {kVeth, kPeer};
  options.programs = {programs_.back().rule};
  options.kernel_accepts = true;
  RuleGenerator generator(options);
  std::map<RuleId, std::pair<Rule, Cookie>> wanted;
  for (int i = 0; i < 1000; ++i) {
    const Rule rule = generator.rule();
    const Cookie cookie = generator.cookie();
    EXPECT_EQ(install(rule, cookie), 0) << to_text(rule) << "\n" << last_error_;
    wanted.emplace(rule.id, std::pair{rule, cookie});
  }
  const auto full = dump(kVeth, std::nullopt, false);
  const auto terse = dump(kVeth, std::nullopt, true);
  ASSERT_EQ(full.size(), wanted.size());
  ASSERT_EQ(terse.size(), wanted.size());
  for (const auto& [id, rule_and_cookie] : wanted) {
    const auto& [rule, cookie] = rule_and_cookie;
    ASSERT_TRUE(full.contains(id)) << to_text(rule);
    const DecodedFilter& seen = full.at(id);
    EXPECT_EQ(seen.rule, rule) << to_text(rule) << "\n" << to_text(seen.rule);
    EXPECT_EQ(seen.state.cookie, cookie);
    EXPECT_EQ(seen.state.unknown_attributes, 0U) << to_text(rule);
    EXPECT_EQ(content_hash(seen.rule.spec, id.protocol), content_hash(rule.spec, id.protocol));
    const DecodedFilter& brief = terse.at(id);
    EXPECT_EQ(brief.state.cookie, cookie);
    EXPECT_EQ(brief.rule.spec.skip_hw, rule.spec.skip_hw);
    EXPECT_EQ(brief.rule.spec.actions.size(), rule.spec.actions.size());
    EXPECT_EQ(brief.state.unknown_attributes, 0U);
  }
}

TEST_F(Kernel, knows_a_filter_by_its_place) {
  Rule first = rule(kVeth, 5, 7, Match().eth_type(kEthIpv4), {drop()});
  Rule second = first;
  second.id.handle = 0x7fffffff;
  second.spec.match.set(Key::ip_proto, kProtoTcp);
  ASSERT_EQ(install(first), 0) << last_error_;
  EXPECT_EQ(install(first), EEXIST);
  ASSERT_EQ(install(second), 0) << last_error_;
  EXPECT_EQ(dump(kVeth, 5, true).size(), 2U);
  EXPECT_TRUE(dump(kVeth, 6, true).empty());
  EXPECT_TRUE(dump(kPeer, std::nullopt, true).empty());

  first.spec.actions = {pass()};
  ASSERT_EQ(install(first, {}, AddMode::replace), 0) << last_error_;
  EXPECT_EQ(dump(kVeth, 5, false).at(first.id).rule, first);
  Bytes request;
  ASSERT_TRUE(encode_get(request, first.id));
  size_t got = 0;
  ASSERT_TRUE(transport_->get(request, [&](BytesView message) -> Result<void> {
    EXPECT_EQ(decode_filter(message)->rule, first);
    ++got;
    return {};
  }));
  EXPECT_EQ(got, 1U);

  EXPECT_EQ(remove(first.id), 0);
  EXPECT_EQ(remove(first.id), ENOENT);
  EXPECT_EQ(dump(kVeth, 5, true).size(), 1U);
}

TEST_F(Kernel, tells_who_made_the_clsact) {
  const auto add = [](Bytes& out) { return encode_clsact_add(out, kVeth); };
  const auto get = [this] {
    Bytes request;
    EXPECT_TRUE(encode_clsact_get(request, kVeth));
    std::optional<DecodedQdisc> out;
    (void)transport_->get(request, [&](BytesView message) -> Result<void> {
      out = *decode_qdisc(message);
      return {};
    });
    return out;
  };
  EXPECT_EQ(ask(add), EEXIST);
  ASSERT_TRUE(get());
  EXPECT_TRUE(get()->is_clsact());
  EXPECT_EQ(get()->device, kVeth);
  Bytes request;
  ASSERT_TRUE(encode_qdisc_dump(request));
  std::set<IfIndex> devices;
  ASSERT_TRUE(transport_->dump(request, [&](BytesView message) -> Result<void> {
    if (auto qdisc = decode_qdisc(message); qdisc->is_clsact()) devices.insert(qdisc->device);
    return {};
  }));
  EXPECT_EQ(devices, (std::set<IfIndex>{kVeth, kPeer}));
  EXPECT_EQ(ask([](Bytes& out) { return encode_clsact_delete(out, kVeth); }), 0);
  EXPECT_FALSE(get());
  EXPECT_EQ(ask(add), 0);
}

// hash is a key that iproute2 cannot yet write, so its byte order is proved by a packet: a program gives it a hash.
TEST_F(Kernel, matches_the_hash_a_program_sets_in_the_order_it_was_written) {
  constexpr int32_t kHash = 0x12345678;
  programs_.push_back(
      load_program("sepal_hash", {move(2, kHash), call(BPF_FUNC_set_hash), move(0, TC_ACT_PIPE), leave()}));
  ASSERT_TRUE(programs_.back().fd.valid());
  const Rule wrong = rule(kVeth, 1, 1, Match().set(Key::hash, 0x78563412), {drop()});
  const Rule right = rule(kVeth, 1, 2, Match().set(Key::hash, kHash), {drop()});
  const Rule masked = rule(kVeth, 0, 1, Match(), {{programs_.back().rule}, goto_chain(1)});
  for (const Rule& each : {wrong, right, masked}) ASSERT_EQ(install(each), 0) << last_error_;
  send_frame();
  auto seen = dump(kVeth, std::nullopt, false);
  EXPECT_GE(seen.at(masked.id).state.stats.at(0).packets, 1U);
  EXPECT_EQ(seen.at(wrong.id).state.stats.at(0).packets, 0U);
  EXPECT_EQ(seen.at(right.id).state.stats.at(0).packets, seen.at(masked.id).state.stats.at(0).packets);
}

// Why encode_add refuses such keys: the kernel takes them and forgets them.
TEST_F(Kernel, forgets_a_key_whose_precondition_is_missing) {
  Rule written = rule(kVeth, 1, 1, Match().eth_type(kEthIpv4).set(Key::ip_ttl, 1), {drop()});
  Bytes bytes;
  ASSERT_TRUE(encode_add(bytes, written, {}, AddMode::create, {}));
  // eth_type ip becomes eth_type arp in the bytes.
  const std::array<uint8_t, 6> eth_type = {6, 0, TCA_FLOWER_KEY_ETH_TYPE, 0, 0x08, 0x00};
  auto at = std::search(bytes.begin(), bytes.end(), eth_type.begin(), eth_type.end());
  ASSERT_NE(at, bytes.end());
  at[5] = 0x06;
  std::optional<int> result;
  ASSERT_TRUE(transport_->transact(
      bytes, [&](size_t, const netlink::Answer& answer) { result = answer ? 0 : answer.error().sys_errno; }));
  EXPECT_EQ(result, 0);
  EXPECT_EQ(dump(kVeth, 1, false).at(written.id).rule.spec.match, Match().eth_type(kEthArp));
}

// act_api.c, tcf_action_init(): an object made by a filter that skips hardware cannot serve one that does not.
TEST_F(Kernel, refuses_to_share_an_action_between_filters_in_and_out_of_hardware) {
  Action shared = csum(kCsumIpv4Header);
  shared.index = 77'777;
  Rule software = rule(kVeth, 1, 1, Match(), {shared, drop()});
  software.spec.skip_hw = true;
  Rule hardware = rule(kVeth, 2, 1, Match(), {shared, drop()});
  ASSERT_EQ(install(software), 0) << last_error_;
  EXPECT_EQ(install(hardware), EINVAL);
  Rule another = software;
  another.id.chain = 3;
  EXPECT_EQ(install(another), 0) << last_error_;
}

// The content of a shared action is that of whoever came first; a later filter's options are not even read.
TEST_F(Kernel, keeps_a_shared_action_as_its_first_user_wrote_it) {
  Action first = csum(kCsumIpv4Header);
  first.index = 77'777;
  Action second = csum(kCsumTcp);
  second.index = 77'777;
  const Rule a = rule(kVeth, 1, 1, Match(), {first, drop()});
  const Rule b = rule(kVeth, 2, 1, Match(), {second, drop()});
  ASSERT_EQ(install(a), 0) << last_error_;
  ASSERT_EQ(install(b), 0) << last_error_;
  EXPECT_EQ(dump(kVeth, 2, false).at(b.id).rule.spec.actions.at(0), first);
}

// What agent/shared_actions.hpp builds on: made once, told as made, bound and not to be had away under a rule.
TEST_F(Kernel, keeps_a_shared_action_until_no_filter_refers_to_it) {
  const SharedAction kinds[] = {
      {rewrite_macs_and_ttl(*MacAddr::parse("02:11:22:33:44:55"), *MacAddr::parse("02:66:77:88:99:aa"), Family::ipv6)
           .kind},
      {csum(kCsumIpv4Header).kind, true},
      {tunnel_set(*IpAddr::parse("2001:db8::1"), *IpAddr::parse("2001:db8::1234"), Vni(0x123456), 4789).kind}};
  uint32_t chain = 0;
  for (const SharedAction& kind : kinds) {
    Cookie cookie;
    cookie.instance = 0x1234;
    cookie.content = content_hash(kind);
    const ActionObject object{kind, limits::kSharedActionFirst + 5, cookie};
    const auto add = [&](const ActionObject& o, AddMode mode) {
      return ask([&](Bytes& out) { return encode_action_add(out, o, mode); });
    };
    const auto remove_it = [&] {
      return ask([&](Bytes& out) { return encode_action_delete(out, kind_of(kind), object.index); });
    };
    ASSERT_EQ(add(object, AddMode::create), 0) << last_error_;
    EXPECT_EQ(add(object, AddMode::create), EEXIST) << "the number is taken";
    EXPECT_EQ(objects(kind_of(kind)).at(object.index).bound, 0U);

    Rule user = rule(kVeth, ++chain, 1, Match(), {{kind.kind}, drop()});
    user.spec.skip_hw = kind.skip_hw;
    user.spec.actions.front().shared = true;
    auto reference = encode_reference(kind, object.index);
    ASSERT_TRUE(reference);
    EncodeContext context;
    context.shared = [&](const Action&, bool) { return std::span<const uint8_t>(*reference); };
    const auto bind = [&] {
      return ask([&](Bytes& out) { return encode_add(out, user, {}, AddMode::create, context); });
    };
    ASSERT_EQ(bind(), 0) << last_error_;
    ActionObject seen = objects(kind_of(kind)).at(object.index);
    EXPECT_EQ(seen.action, kind);
    EXPECT_EQ(seen.cookie, cookie) << "binding leaves the cookie";
    EXPECT_EQ(seen.bound, 1U);
    EXPECT_EQ(seen.unknown_attributes, 0U);
    const DecodedFilter filter = dump(kVeth, chain, false).at(user.id);
    EXPECT_EQ(filter.rule.spec, user.spec);
    EXPECT_EQ(filter.rule.spec.actions.front().index, object.index);

    // Others change it under the rule, and the cookie stays; then it is put right.
    ActionObject other = object;
    other.cookie.reset();
    if (std::holds_alternative<Csum>(kind.kind)) other.action.kind = Csum{kCsumTcp};
    if (std::holds_alternative<TunnelSet>(kind.kind)) std::get<TunnelSet>(other.action.kind).key_id = 7;
    if (std::holds_alternative<Pedit>(kind.kind)) std::get<Pedit>(other.action.kind).keys.pop_back();
    ASSERT_EQ(add(other, AddMode::replace), 0) << last_error_;
    seen = objects(kind_of(kind)).at(object.index);
    EXPECT_EQ(seen.action, other.action);
    EXPECT_EQ(seen.cookie, cookie);
    EXPECT_EQ(dump(kVeth, chain, false).at(user.id).rule.spec.actions.front().kind, other.action.kind);
    ASSERT_EQ(add(object, AddMode::replace), 0) << last_error_;
    EXPECT_EQ(objects(kind_of(kind)).at(object.index).action, kind);

    Rule elsewhere = user;
    elsewhere.id.chain = ++chain;
    elsewhere.spec.skip_hw = !kind.skip_hw;
    EXPECT_EQ(ask([&](Bytes& out) { return encode_add(out, elsewhere, {}, AddMode::create, context); }), EINVAL)
        << "in and out of hardware need an object each";

    EXPECT_EQ(remove_it(), EPERM);
    ASSERT_EQ(remove(user.id), 0);
    int gone = EPERM;
    for (int attempt = 0; attempt < 250 && gone == EPERM; ++attempt) {
      usleep(20'000);  // the filter lets go after an RCU grace period
      gone = remove_it();
    }
    EXPECT_EQ(gone, 0) << last_error_;
    EXPECT_FALSE(objects(kind_of(kind)).contains(object.index));
  }
}

// Should an object go between the agent's look and the filter that names it, the filter makes the same one for itself.
TEST_F(Kernel, makes_a_shared_action_that_vanished_as_the_filter_says_it) {
  const SharedAction kind{tunnel_set(IpAddr::v4(192, 0, 2, 1), IpAddr::v4(198, 51, 100, 2), Vni(0x123456), 4789).kind};
  auto reference = encode_reference(kind, limits::kSharedActionFirst);
  ASSERT_TRUE(reference);
  EncodeContext context;
  context.shared = [&](const Action&, bool) { return std::span<const uint8_t>(*reference); };
  Rule user = rule(kVeth, 1, 1, Match(), {{kind.kind}, drop()});
  user.spec.actions.front().shared = true;
  ASSERT_EQ(ask([&](Bytes& out) { return encode_add(out, user, {}, AddMode::create, context); }), 0) << last_error_;
  EXPECT_EQ(dump(kVeth, 1, false).at(user.id).rule.spec, user.spec);
}

}  // namespace
}  // namespace sepal::tc
