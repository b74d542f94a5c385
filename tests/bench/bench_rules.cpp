// sepal-bench: one measured step per call, in the network namespace it is called in, told as one line of JSON.
// Which steps make which row of docs/performance.md is told by tests/bench/*.py.
//
//   prepare DIR           (not measured) the vxlan device, a clsact on every device, the stand-in programs
//   sepal DIR             YAML → rules in the kernel through the reconciler; --threads N writers
//   floor DIR             the messages of the same rules prebuilt, 64 per send, one thread; --share KINDS by index
//   text DIR FILE         (not measured) the same rules for `tc -batch`; --plain without cookies and no_percpu
//   dump DIR              a raw terse dump of every device with clsact, thrown away
//   change LIVE FROM TO   a reconciler that has applied FROM's files, in LIVE, reads and follows TO's, as a daemon does
//   pure DIR              read, compile, encode, again and again: for a profiler; --times N
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "agent/clsact.hpp"
#include "agent/filters.hpp"
#include "agent/options.hpp"
#include "agent/reconciler.hpp"
#include "config/directory.hpp"
#include "metered.hpp"
#include "netlink/link_monitor.hpp"
#include "raw_netlink.hpp"
#include "stand_in.hpp"
#include "tc/codec/flower.hpp"
#include "tc_text.hpp"

namespace sepal::bench {
namespace {

using nlohmann::json;

constexpr const char* kInstance = "bench";
constexpr size_t kPerSend = 64;

[[noreturn]] void die(const std::string& why) {
  std::cerr << "sepal-bench: " << why << '\n';
  std::exit(1);
}
[[noreturn]] void die(const Error& error) { die(error.message()); }

template <typename T>
T must(Result<T> result) {
  if (!result) die(result.error());
  return std::move(*result);
}
void must(const Result<void>& result) {
  if (!result) die(result.error());
}

// As a daemon does it: what was read before is not read again.
const config::Config& read_again(config::ConfigDirectory& directory) {
  if (auto read = directory.read(); !read) die(read.error().front().to_string());
  return *directory.config();
}

config::Config read(const std::string& directory) {
  auto read = config::read_directory(directory);
  if (!read) die(read.error().front().to_string());
  return std::move(*read);
}

// Everything a pass needs, with a meter in between.
class Bench {
 public:
  explicit Bench(unsigned threads) : paths_(must(agent::Paths::make(kInstance, "/run/sepal-bench"))) {
    netlink::SocketOptions route;
    route.protocol = NETLINK_ROUTE;
    netlink::SocketOptions netfilter;
    netfilter.protocol = NETLINK_NETFILTER;
    auto socket = threads > 1 ? netlink::open_parallel_transport(route, threads) : netlink::open_transport(route);
    route_ = std::make_unique<MeteredTransport>(must(std::move(socket)), meter_);
    netfilter_ = must(netlink::open_transport(netfilter));
    must(make_run_directory(paths_));
  }

  agent::Kernel kernel() { return {*route_, *netfilter_, programs_}; }
  Meter& meter() { return meter_; }
  agent::Paths& paths() { return paths_; }

 private:
  agent::Paths paths_;
  Meter meter_;
  std::unique_ptr<netlink::Transport> route_;
  std::unique_ptr<netlink::Transport> netfilter_;
  StandInPrograms programs_;
};

json to_json(const Meter& meter) {
  return {{"write_ms", meter.write_ms}, {"read_ms", meter.read_ms}, {"filters", meter.filters},
          {"others", meter.others},     {"dumps", meter.dumps},     {"write_bytes", meter.write_bytes}};
}

json to_json(const agent::PassReport& report) {
  return {{"rules", report.rules},
          {"added", report.outcome.added},
          {"replaced", report.outcome.replaced},
          {"removed", report.outcome.removed},
          {"refused", report.outcome.refusals.size()},
          {"problems", report.problems}};
}

void fail_on_trouble(const agent::PassReport& report) {
  if (!report.outcome.refusals.empty()) die("a rule was refused: " + report.outcome.refusals.front().error.message());
  if (!report.problems.empty()) die(report.problems.front());
}

json prepare(const std::string& directory) {
  Bench bench(1);
  agent::Kernel kernel = bench.kernel();
  const config::Config config = read(directory);
  must(netlink::ensure_vxlan(kernel.route, agent::vxlan_wanted(config.host, kInstance)));
  const auto difference = must(agent::find_difference(kernel, config, bench.paths()));
  std::set<IfIndex> devices;
  for (const auto& rule : difference.wanted.rules) devices.insert(rule.rule.id.device);
  for (IfIndex device : devices) must(agent::attach_clsact(kernel, device, difference.world.facts.instance));
  size_t actions = 0;
  for (const auto& rule : difference.wanted.rules) actions += rule.rule.spec.actions.size();
  return {{"rules", difference.wanted.rules.size()}, {"actions", actions}, {"devices", devices.size()}};
}

json sepal(const std::string& directory, unsigned threads) {
  Bench bench(threads);
  agent::Reconciler reconciler(bench.kernel(), bench.paths());
  config::ConfigDirectory files(directory);
  const auto begin = BenchClock::now();
  const config::Config& config = read_again(files);
  const double config_ms = ms_since(begin);
  const agent::PassReport report = must(reconciler.apply(config, {}));
  const double ms = ms_since(begin);
  fail_on_trouble(report);
  json out = to_json(report);
  out.update(to_json(bench.meter()));
  out["ms"] = ms;
  out["config_ms"] = config_ms;
  return out;
}

// What a shared action would be known by: the same for the same action, whichever rule it stands in.
uint32_t index_of(const tc::Action& action) {
  tc::RuleSpec alone;
  alone.actions.push_back(action);
  return (static_cast<uint32_t>(tc::content_hash(alone, 0)) & 0x3fffffffU) | 0x40000000U;
}

// `share` names kinds ("pedit,csum,tunnel") whose equal actions all rules refer to by one index, but for the last of a
// rule.
netlink::Bytes encode_all(const agent::Difference& difference, agent::SlowPath& programs, const std::string& share) {
  auto shared = [&share](const tc::ActionKind& kind) {
    const char* name = std::holds_alternative<tc::Pedit>(kind)       ? "pedit"
                       : std::holds_alternative<tc::Csum>(kind)      ? "csum"
                       : std::holds_alternative<tc::TunnelSet>(kind) ? "tunnel"
                                                                     : nullptr;
    return name != nullptr && share.find(name) != std::string::npos;
  };
  netlink::Bytes messages;
  for (const tc::Step& step : difference.steps) {
    if (step.kind == tc::Step::Kind::remove) continue;
    const tc::CompiledRule& rule = difference.wanted.rules[step.rule];
    tc::Rule written = rule.rule;
    for (size_t i = 0; i + 1 < written.spec.actions.size(); ++i) {
      tc::Action& action = written.spec.actions[i];
      if (shared(action.kind)) action.index = index_of(action);
    }
    must(agent::append_write(messages, agent::Write::add, written, rule.cookie, programs));
  }
  return messages;
}

json floor(const std::string& directory, const std::string& share) {
  Bench bench(1);
  agent::Kernel kernel = bench.kernel();
  const auto difference = must(agent::find_difference(kernel, read(directory), bench.paths()));
  netlink::Bytes messages = encode_all(difference, kernel.slow_path, share);
  auto raw = must(RawNetlink::open());
  const auto written = must(raw.write(messages, kPerSend));
  if (written.refused != 0) die(std::to_string(written.refused) + " messages were refused");
  return {{"ms", written.ms}, {"messages", written.messages}, {"write_bytes", messages.size()}};
}

json text(const std::string& directory, const std::string& file, bool plain) {
  Bench bench(1);
  agent::Kernel kernel = bench.kernel();
  const auto difference = must(agent::find_difference(kernel, read(directory), bench.paths()));
  std::vector<const tc::CompiledRule*> rules;
  for (const tc::Step& step : difference.steps) rules.push_back(&difference.wanted.rules[step.rule]);
  TcWords words{difference.world.devices, std::string(kPinDirectory) + "/%s", !plain};
  std::ofstream(file) << tc_batch(rules, words);
  return {{"rules", rules.size()}};
}

json dump(const std::string& directory) {
  Bench bench(1);
  agent::Kernel kernel = bench.kernel();
  (void)directory;
  const auto clsact = must(netlink::list_clsact(kernel.route));
  auto raw = must(RawNetlink::open());
  RawNetlink::Read sum;
  for (IfIndex device : clsact) {
    netlink::Bytes request;
    must(tc::encode_dump(request, device, std::nullopt, true));
    const auto one = must(raw.dump(std::move(request)));
    sum.ms += one.ms;
    sum.messages += one.messages;
    sum.bytes += one.bytes;
  }
  return {{"ms", sum.ms}, {"messages", sum.messages}, {"bytes", sum.bytes}};
}

// What a change is about to write: on devices that have no rules yet, and for whom.
json steps_of(const agent::Difference& difference) {
  std::set<IfIndex> known;
  for (const auto& rule : difference.world.observed) known.insert(rule.id.device);
  std::set<Vni> tenants;
  size_t on_new_device = 0;
  for (const tc::Step& step : difference.steps) {
    if (step.kind == tc::Step::Kind::remove) continue;
    const tc::CompiledRule& rule = difference.wanted.rules[step.rule];
    on_new_device += known.contains(rule.rule.id.device) ? 0U : 1U;
    tenants.insert(rule.origin.vni);
  }
  return {{"on_new_device", on_new_device}, {"tenants", tenants.size()}, {"steps", difference.steps.size()}};
}

// Files that differ, as an operator or a controller writes them.
void put_files(const std::string& from, const std::string& live) {
  namespace fs = std::filesystem;
  auto text = [](const fs::path& path) {
    std::ostringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  };
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    const fs::path to = live / fs::relative(entry.path(), from);
    if (entry.is_directory())
      fs::create_directories(to);
    else if (!fs::exists(to) || text(to) != text(entry.path()))
      fs::copy_file(entry.path(), to, fs::copy_options::overwrite_existing);
  }
}

json change(const std::string& live, const std::string& from, const std::string& to, unsigned threads) {
  Bench bench(threads);
  agent::Kernel kernel = bench.kernel();
  auto monitor = must(netlink::LinkMonitor::open({}));
  agent::Reconciler reconciler(kernel, bench.paths());
  reconciler.set_device_events([&monitor] { return monitor.take(); });
  put_files(from, live);
  // What an earlier run left is not believed: as after the first look of a daemon, all is compiled once.
  agent::forget_last_pass(bench.paths().last);
  config::ConfigDirectory files(live);
  fail_on_trouble(must(reconciler.apply(read_again(files), {})));
  json out = steps_of(must(agent::find_difference(kernel, read(to), bench.paths())));
  put_files(to, live);
  bench.meter() = {};
  const auto begin = BenchClock::now();
  const config::Config& config = read_again(files);
  const double config_ms = ms_since(begin);
  const agent::PassReport report = must(reconciler.follow(config, {}));
  const double ms = ms_since(begin);
  fail_on_trouble(report);
  out.update(to_json(report));
  out.update(to_json(bench.meter()));
  out["ms"] = ms;
  out["config_ms"] = config_ms;
  return out;
}

// Devices are made up, so that a profiler can run it anywhere.
json pure(const std::string& directory, long times) {
  json out;
  for (long i = 0; i < times; ++i) {
    auto begin = BenchClock::now();
    const config::Config config = read(directory);
    out["config_ms"] = ms_since(begin);
    tc::Facts facts;
    facts.uplink = IfIndex(2);
    facts.vxlan = IfIndex(3);
    facts.uplink_mac = *MacAddr::parse("02:00:00:00:f1:01");
    facts.answer_neighbour.name = "sepal_neigh";
    facts.choose_slice.name = "sepal_slice";
    uint32_t index = 10;
    for (const auto& tenant : config.tenants)
      for (const auto& port : tenant.ports) facts.ports.emplace(tc::PortKey{tenant.name, port.name}, IfIndex(index++));
    begin = BenchClock::now();
    const tc::RuleSet rules = tc::compile(config, facts);
    out["compile_ms"] = ms_since(begin);
    begin = BenchClock::now();
    const auto steps = tc::diff(rules.rules, {});
    out["diff_ms"] = ms_since(begin);
    begin = BenchClock::now();
    netlink::Bytes messages;
    tc::EncodeContext context;
    context.program_fd = [](const tc::Bpf&) { return 3; };
    for (const auto& step : steps) {
      const auto& rule = rules.rules[step.rule];
      must(tc::encode_add(messages, rule.rule, rule.cookie, tc::AddMode::create, context));
    }
    out["encode_ms"] = ms_since(begin);
    out["rules"] = rules.rules.size();
    out["bytes"] = messages.size();
  }
  return out;
}

json run(const agent::Options& options) {
  const auto& words = options.words();
  auto word = [&words](size_t i) {
    if (i >= words.size()) die("a word is missing");
    return words[i];
  };
  const auto threads = static_cast<unsigned>(must(options.number("--threads", 1, 16)).value_or(1));
  const std::string command = word(0);
  if (command == "prepare") return prepare(word(1));
  if (command == "sepal") return sepal(word(1), threads);
  if (command == "floor") return floor(word(1), options.value("--share", ""));
  if (command == "text") return text(word(1), word(2), options.has("--plain"));
  if (command == "dump") return dump(word(1));
  if (command == "change") return change(word(1), word(2), word(3), threads);
  if (command == "pure") return pure(word(1), must(options.number("--times", 1, 10000)).value_or(1));
  die("unknown command " + command);
}

}  // namespace
}  // namespace sepal::bench

int main(int argc, char** argv) {
  using namespace sepal;
  auto options = agent::Options::parse(std::vector<std::string>(argv + 1, argv + argc),
                                       {{"--threads", true}, {"--times", true}, {"--share", true}, {"--plain"}});
  if (!options) bench::die(options.error());
  std::cout << bench::run(*options).dump() << std::endl;
}
