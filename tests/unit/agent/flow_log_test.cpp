// What the flow log says of events, and where its lines go when they cannot all be written.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "agent/flow_book.hpp"
#include "agent/flow_sink.hpp"
#include "base/log.hpp"
#include "base/unique_fd.hpp"
#include "policy/judge.hpp"
#include "policy/network.hpp"
#include "tc/pipeline/plan.hpp"

namespace sepal::agent {
namespace {

using netlink::ConnectionEvent;
using nlohmann::json;

constexpr uint64_t kTime = 1'769'862'896'123'456'789U;  // 2026-01-31T12:34:56.123456789Z
constexpr Vni kBlue{100};
constexpr Zone kZone{3};

IpAddr ip(const char* text) { return *IpAddr::parse(text); }

config::GroupRule tcp_rule(uint16_t port, bool allow, bool log) {
  config::GroupRule rule;
  rule.protocol = IPPROTO_TCP;
  rule.ports = {{port, port}};
  rule.remote.any = true;
  rule.allow = allow;
  rule.log = log;
  rule.where = {0, 7, 12};
  return rule;
}

config::Config blue(bool flow_log, std::vector<config::GroupRule> ingress) {
  config::Config config;
  config.files = {"blue.yaml"};
  config::Tenant tenant;
  tenant.name = "blue";
  tenant.vni = kBlue;
  tenant.flow_log = flow_log;
  config::SecurityGroup web;
  web.name = "web";
  web.ingress = std::move(ingress);
  tenant.security_groups = {web};
  config::Port port;
  port.name = "web-0";
  port.addresses = {ip("10.0.0.1"), ip("fd00::1")};
  port.prefixes = {*IpPrefix::parse("10.1.0.0/24")};
  port.security_groups = {"web"};
  tenant.ports = {port};
  config.tenants = {tenant};
  return config;
}

SavedState served() {
  SavedState state;
  state.tenants[kBlue].zone = kZone;
  return state;
}

// The event that the program would write of a new connection to web-0, if any.
std::optional<sepal_event> event_of(const config::Config& config, uint16_t port, const char* from = "10.9.9.9") {
  const auto policies = policy::compile(config);
  const policy::Judge judge(policies[0].tables);
  const policy::Verdict said = judge.judge({ip(from), ip("10.0.0.1"), IPPROTO_TCP, port, false});
  sepal_event event{};
  event.kind = policy::event_of(said);
  if (event.kind == SEPAL_EVENT_NONE) return std::nullopt;
  event.vni = kBlue.value();
  event.egress = policy::telling_rule(said.egress);
  event.ingress = said.egress.allows() ? policy::telling_rule(said.ingress) : uint32_t{SEPAL_RULE_NO_GROUPS};
  const IpAddr source = ip(from);
  const IpAddr destination = ip("10.0.0.1");
  std::copy_n(source.bytes.begin(), 4, event.source);
  std::copy_n(destination.bytes.begin(), 4, event.destination);
  event.protocol = IPPROTO_TCP;
  event.source_port[0] = 0x9c;
  event.source_port[1] = 0x41;
  event.detail[0] = static_cast<__u8>(port >> 8U);
  event.detail[1] = static_cast<__u8>(port);
  return event;
}

json told(const config::Config& config, uint16_t port, const char* from = "10.9.9.9") {
  const auto event = event_of(config, port, from);
  if (!event) return nullptr;
  return json::parse(FlowBook(config, served()).line(*event, kTime));
}

TEST(FlowLog, names_a_verdict_with_its_rule_and_the_rules_place) {
  const auto config = blue(false, {tcp_rule(22, false, true), tcp_rule(80, true, true), tcp_rule(81, true, false)});
  EXPECT_EQ(told(config, 22), json::parse(R"({"time":"2026-01-31T12:34:56.123456Z","event":"denied","tenant":"blue",
      "vni":100,"protocol":"tcp","source":"10.9.9.9","source_port":40001,"destination":"10.0.0.1",
      "destination_port":22,"to":"web-0","rule":"group web, ingress: deny tcp 22 from any","at":"blue.yaml:7:12"})"));
  EXPECT_EQ(told(config, 80)["event"], "allowed");
  EXPECT_EQ(told(config, 80)["rule"], "group web, ingress: allow tcp 80 from any");
  EXPECT_EQ(told(config, 81), nullptr) << "a rule that does not log";
  EXPECT_EQ(told(config, 82), nullptr) << "denied by no rule, and the tenant's flow log is off";
}

TEST(FlowLog, of_a_tenant_tells_every_denial_and_nothing_that_passes) {
  const auto config = blue(true, {tcp_rule(22, false, false), tcp_rule(81, true, false)});
  EXPECT_EQ(told(config, 22)["event"], "denied");
  EXPECT_EQ(told(config, 82)["rule"], "ingress: no rule of its groups matches");
  EXPECT_FALSE(told(config, 82).contains("at"));
  EXPECT_EQ(told(config, 81), nullptr);
}

TEST(FlowLog, an_audited_denial_is_told_as_such) {
  auto config = blue(false, {tcp_rule(22, false, true), tcp_rule(80, true, true)});
  config.tenants[0].security_groups[0].audit = true;
  EXPECT_EQ(told(config, 22)["event"], "audited");
  EXPECT_EQ(told(config, 22)["rule"], "group web, ingress: deny tcp 22 from any");
  EXPECT_EQ(told(config, 80)["event"], "allowed");
  EXPECT_EQ(told(config, 80)["rule"], "group web, ingress: allow tcp 80 from any");
  EXPECT_EQ(told(config, 82), nullptr);
  config.tenants[0].flow_log = true;
  EXPECT_EQ(told(config, 82)["event"], "audited");
}

// Port db-0, whose group may connect to nothing; web-0 lets in what its rules say.
config::Config blue_with_db(bool db_audits, std::vector<config::GroupRule> ingress) {
  auto config = blue(true, std::move(ingress));
  config::SecurityGroup db;
  db.name = "db";
  db.audit = db_audits;
  db.egress = {tcp_rule(22, false, true)};
  config.tenants[0].security_groups.push_back(db);
  config::Port port;
  port.name = "db-0";
  port.addresses = {ip("10.0.0.2")};
  port.security_groups = {"db"};
  config.tenants[0].ports.push_back(port);
  return config;
}

TEST(FlowLog, a_denial_is_told_by_the_side_that_denied_and_not_by_one_that_only_would) {
  const auto tried = told(blue_with_db(true, {tcp_rule(22, false, false)}), 22, "10.0.0.2");
  EXPECT_EQ(tried["event"], "denied");
  EXPECT_EQ(tried["rule"], "group web, ingress: deny tcp 22 from any");
  const auto kept_in = told(blue_with_db(false, {tcp_rule(22, false, false)}), 22, "10.0.0.2");
  EXPECT_EQ(kept_in["event"], "denied");
  EXPECT_EQ(kept_in["rule"], "group db, egress: deny tcp 22 to any");
  const auto passed = told(blue_with_db(true, {tcp_rule(22, true, false)}), 22, "10.0.0.2");
  EXPECT_EQ(passed["event"], "audited");
  EXPECT_EQ(passed["rule"], "group db, egress: deny tcp 22 to any");
}

TEST(FlowLog, a_rule_that_moved_in_its_file_is_named_where_it_stands_now) {
  auto config = blue(false, {tcp_rule(22, false, true)});
  FlowBook book(config, served());
  const auto event = event_of(config, 22);
  ASSERT_TRUE(event);
  config.tenants[0].security_groups[0].ingress[0].where.line = 70;
  book = FlowBook(config, served(), std::move(book));
  EXPECT_EQ(json::parse(book.line(*event, kTime))["at"], "blue.yaml:70:12");
  config.files = {"other.yaml"};
  book = FlowBook(config, served(), std::move(book));
  EXPECT_EQ(json::parse(book.line(*event, kTime))["at"], "other.yaml:70:12");
  EXPECT_EQ(json::parse(book.line(*event, kTime))["rule"], "group web, ingress: deny tcp 22 from any");
  config.tenants[0].name = "azure";
  book = FlowBook(config, served(), std::move(book));
  EXPECT_EQ(json::parse(book.line(*event, kTime))["tenant"], "azure");
}

TEST(FlowLog, wants_of_the_kernel_only_what_somebody_writes) {
  const FlowBook nobody(blue(false, {tcp_rule(80, true, false)}), served());
  EXPECT_FALSE(nobody.wants_verdicts());
  EXPECT_FALSE(nobody.wants_connections());
  const FlowBook one_rule(blue(false, {tcp_rule(80, true, true)}), served());
  EXPECT_TRUE(one_rule.wants_verdicts());
  EXPECT_FALSE(one_rule.wants_connections());
  auto open = blue(true, {});
  open.tenants[0].security_groups.clear();
  const FlowBook without_groups(open, served());
  EXPECT_FALSE(without_groups.wants_verdicts());
  EXPECT_TRUE(without_groups.wants_connections());
}

ConnectionEvent ended() {
  ConnectionEvent event;
  event.kind = ConnectionEvent::Kind::ended;
  netlink::Connection& c = event.connection;
  c.original = {ip("10.0.0.1"), ip("198.51.100.7"), IPPROTO_TCP, 40000, 443, 0, 0, 0};
  c.reply = {ip("198.51.100.7"), ip("203.0.113.10"), IPPROTO_TCP, 443, 1024, 0, 0, 0};
  c.zone = kZone;
  c.id = 77;
  c.original_counters = netlink::ConnectionCounters{5, 600};
  c.reply_counters = netlink::ConnectionCounters{4, 5000};
  return event;
}

TEST(FlowLog, tells_of_a_connection_with_its_translation_and_what_it_carried) {
  const FlowBook book(blue(true, {}), served());
  const auto line = book.line(ended(), kTime);
  ASSERT_TRUE(line);
  EXPECT_EQ(json::parse(*line), json::parse(R"({"time":"2026-01-31T12:34:56.123456Z","event":"ended","tenant":"blue",
      "vni":100,"protocol":"tcp","source":"10.0.0.1","source_port":40000,"destination":"198.51.100.7",
      "destination_port":443,"from":"web-0","translated":{"source":"203.0.113.10","source_port":1024},
      "packets":5,"bytes":600,"reply_packets":4,"reply_bytes":5000,"connection":77})"));
  EXPECT_EQ(line->find("{\"time\":"), 0U) << "fields stand in one order";
}

TEST(FlowLog, tells_of_an_entry_that_stands_the_other_way_round_as_its_flow_began) {
  const FlowBook book(blue(true, {}), served());
  ConnectionEvent event = ended();
  netlink::Connection& c = event.connection;  // conntrack saw the answer first
  c.original = {ip("10.0.0.2"), ip("10.0.0.1"), IPPROTO_UDP, 53, 40000, 0, 0, 0};
  c.reply = {ip("10.0.0.1"), ip("10.0.0.2"), IPPROTO_UDP, 40000, 53, 0, 0, 0};
  c.mark = tc::kMarkCommitted | tc::kMarkAnswered;
  const auto line = book.line(event, kTime);
  ASSERT_TRUE(line);
  const json told = json::parse(*line);
  EXPECT_EQ(told["source"], "10.0.0.1");
  EXPECT_EQ(told["source_port"], 40000);
  EXPECT_EQ(told["destination_port"], 53);
  EXPECT_EQ(told["packets"], 4);
  EXPECT_EQ(told["reply_packets"], 5);
}

TEST(FlowLog, names_the_tenant_whose_records_were_lost) {
  const FlowBook book(blue(true, {}), served());
  EXPECT_EQ(json::parse(book.lost_line(kTime, 12, "share", kBlue)),
            json::parse(R"({"time":"2026-01-31T12:34:56.123456Z","event":"lost","tenant":"blue","vni":100,"records":12,
      "where":"share"})"));
  EXPECT_EQ(json::parse(book.lost_line(kTime, 3, "ring", Vni())),
            json::parse(R"({"time":"2026-01-31T12:34:56.123456Z","event":"lost","records":3,"where":"ring"})"));
  EXPECT_EQ(book.owner(ended()), kBlue);
}

TEST(FlowLog, without_accounting_leaves_counts_out) {
  auto event = ended();
  event.connection.original_counters.reset();
  event.connection.reply_counters.reset();
  const auto line = FlowBook(blue(true, {}), served()).line(event, kTime);
  ASSERT_TRUE(line);
  EXPECT_FALSE(json::parse(*line).contains("bytes"));
}

TEST(FlowLog, does_not_tell_of_other_zones_or_tenants_that_are_off) {
  auto event = ended();
  EXPECT_FALSE(FlowBook(blue(false, {tcp_rule(80, true, true)}), served()).line(event, kTime));
  event.connection.zone = Zone(4);
  EXPECT_FALSE(FlowBook(blue(true, {}), served()).line(event, kTime));
}

TEST(FlowLog, an_address_behind_a_port_is_that_ports) {
  auto event = ended();
  event.connection.original.source = ip("10.1.0.9");
  const auto line = FlowBook(blue(true, {}), served()).line(event, kTime);
  EXPECT_EQ(json::parse(*line)["from"], "web-0");
}

class Sink : public testing::Test {
 protected:
  Sink() : directory_(testing::TempDir() + "/flow-sink-" + std::to_string(::getpid())) {
    std::filesystem::create_directories(directory_);
    sink_.set_file(file());
  }
  ~Sink() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string file() const { return directory_ + "/flows.json"; }
  static std::vector<std::string> lines(const std::string& path) {
    std::vector<std::string> lines;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  std::string directory_;
  FlowSink sink_;
};

TEST_F(Sink, appends_lines_and_goes_on_in_a_new_file_after_a_rotation) {
  sink_.add("one");
  sink_.add("two");
  EXPECT_TRUE(sink_.flush());
  std::filesystem::rename(file(), file() + ".1");
  sink_.add("three");
  sink_.flush();
  sink_.reopen();
  sink_.add("four");
  sink_.flush();
  EXPECT_EQ(lines(file() + ".1"), (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(lines(file()), (std::vector<std::string>{"four"}));
  EXPECT_EQ(sink_.take_lost(), 0U);
}

TEST_F(Sink, counts_what_a_full_disk_does_not_take) {
  sink_.set_file("/dev/full");
  for (int i = 0; i < 3; ++i) sink_.add("lost");
  EXPECT_FALSE(sink_.flush());
  EXPECT_EQ(sink_.take_lost(), 3U);
  EXPECT_EQ(sink_.take_lost(), 0U);
  sink_.set_file(file());
  sink_.add("kept");
  EXPECT_TRUE(sink_.flush());
  EXPECT_EQ(lines(file()), (std::vector<std::string>{"kept"}));
}

TEST_F(Sink, a_file_that_cannot_be_opened_holds_nobody_up) {
  sink_.set_file(directory_ + "/nowhere/flows.json");
  sink_.add("lost");
  EXPECT_FALSE(sink_.flush());
  EXPECT_EQ(sink_.take_lost(), 1U);
  std::filesystem::create_directory(directory_ + "/nowhere");
  sink_.add("kept");
  EXPECT_TRUE(sink_.flush()) << "tried again with the next lines";
}

TEST_F(Sink, takes_so_many_lines_a_second_and_counts_the_rest) {
  const auto now = FlowSink::Clock::now();
  for (unsigned i = 0; i < FlowSink::kFileLinesPerSecond + 7; ++i) sink_.add(std::to_string(i));
  EXPECT_TRUE(sink_.flush(now));
  EXPECT_EQ(sink_.take_lost(), 7U);
  EXPECT_EQ(lines(file()).back(), std::to_string(FlowSink::kFileLinesPerSecond - 1));
  sink_.add("too soon");
  EXPECT_FALSE(sink_.flush(now));
  EXPECT_EQ(sink_.take_lost(), 1U);
  sink_.add("later");
  EXPECT_TRUE(sink_.flush(now + std::chrono::seconds(1)));
  EXPECT_EQ(lines(file()).back(), "later");
}

TEST_F(Sink, one_tenant_has_half_of_a_second_and_no_more) {
  const auto now = FlowSink::Clock::now();
  unsigned taken = 0;
  while (taken < FlowSink::kFileLinesPerSecond && sink_.take_share(kBlue, now)) ++taken;
  EXPECT_EQ(taken, FlowSink::kFileLinesPerSecond / 2);
  EXPECT_TRUE(sink_.take_share(Vni(200), now)) << "another's share is its own";
  EXPECT_FALSE(sink_.take_share(kBlue, now + std::chrono::milliseconds(900)));
  EXPECT_TRUE(sink_.take_share(kBlue, now + std::chrono::seconds(1)));
}

TEST_F(Sink, after_a_line_that_was_cut_a_new_file_begins_with_a_whole_one) {
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  const UniqueFd reader(::open(file().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(reader.valid());
  sink_.add(std::string(500'000, 'x'));  // more than a pipe holds
  EXPECT_TRUE(sink_.flush());
  EXPECT_EQ(sink_.take_lost(), 1U) << "cut";
  std::filesystem::rename(file(), file() + ".1");
  sink_.reopen();
  sink_.add("whole");
  EXPECT_TRUE(sink_.flush());
  EXPECT_EQ(lines(file()), (std::vector<std::string>{"whole"}));
}

TEST_F(Sink, a_file_that_it_makes_may_be_read_by_its_group_and_another_keeps_its_mode) {
  const auto mode_of = [](const std::string& path) {
    struct stat info{};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_mode & 0777U;
  };
  const mode_t before = ::umask(0077);
  sink_.add("new");
  sink_.flush();
  ::umask(before);
  EXPECT_EQ(mode_of(file()), 0640U);
  ASSERT_EQ(::chmod(file().c_str(), 0600), 0);
  sink_.reopen();
  sink_.add("old");
  sink_.flush();
  EXPECT_EQ(mode_of(file()), 0600U);
  EXPECT_EQ(lines(file()), (std::vector<std::string>{"new", "old"}));
}

TEST_F(Sink, the_journal_has_records_whatever_else_is_logged) {
  sink_.set_file("");
  log::set_level(log::Level::error);
  testing::internal::CaptureStderr();
  sink_.add("{}");
  EXPECT_TRUE(sink_.flush());
  EXPECT_NE(testing::internal::GetCapturedStderr().find("flow: {}\n"), std::string::npos);
  EXPECT_EQ(sink_.take_lost(), 0U);
  log::set_level(log::Level::info);
}

TEST_F(Sink, what_the_journal_does_not_take_is_lost) {
  sink_.set_file("");
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const UniqueFd before(::dup(STDERR_FILENO));
  ASSERT_TRUE(full.valid() && before.valid());
  ASSERT_GE(::dup2(full.get(), STDERR_FILENO), 0);
  sink_.add("lost");
  const bool written = sink_.flush();
  ::dup2(before.get(), STDERR_FILENO);
  EXPECT_FALSE(written);
  EXPECT_EQ(sink_.take_lost(), 1U);
}

TEST_F(Sink, a_pipe_that_nobody_reads_is_no_place_to_wait) {
  const std::string pipe = directory_ + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  sink_.set_file(pipe);
  sink_.add("lost");
  EXPECT_FALSE(sink_.flush());
  EXPECT_EQ(sink_.take_lost(), 1U);
}

}  // namespace
}  // namespace sepal::agent
