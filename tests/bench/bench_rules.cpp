// sepal-bench: one measured step per call, in the network namespace it is called in, told as one line of JSON.
// Which steps make which row of docs/performance.md is told by tests/bench/*.py.
//
//   prepare DIR           (not measured) the vxlan device, a clsact on every device, the stand-in programs
//   sepal DIR             YAML → rules in the kernel through the reconciler; --threads N writers
//   floor DIR             the messages of the same rules and of what they share prebuilt, 64 per send, one thread;
//                         --threads N: cut into so many parts
//   text DIR FILE         (not measured) the same rules for `tc -batch`; --plain without cookies and no_percpu
//   dump DIR              a raw terse dump of every device with clsact, thrown away
//   change LIVE FROM TO   a reconciler that has applied FROM's files, in LIVE, reads and follows TO's, as a daemon does
//   pure DIR              read, compile, encode, again and again: for a profiler; --times N
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "agent/clsact.hpp"
#include "agent/filters.hpp"
#include "agent/open_kernel.hpp"
#include "agent/options.hpp"
#include "agent/reconciler.hpp"
#include "agent/shared_actions.hpp"
#include "config/directory.hpp"
#include "metered.hpp"
#include "netlink/link_monitor.hpp"
#include "netlink/message.hpp"
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

  agent::Kernel kernel() { return {*route_, *netfilter_, programs_, features_.borrow().offload}; }
  Meter& meter() { return meter_; }
  agent::Paths& paths() { return paths_; }

 private:
  agent::Paths paths_;
  Meter meter_;
  std::unique_ptr<netlink::Transport> route_;
  std::unique_ptr<netlink::Transport> netfilter_;
  StandInPrograms programs_;
  agent::OpenKernel features_{kInstance};  // for what ethtool tells alone
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
  // A pass goes on after the kernel's last answer to a write: it says what it did, and keeps its books.
  if (bench.meter().filters > 0)
    out["answered_ms"] = std::chrono::duration<double, std::milli>(bench.meter().answered - begin).count();
  out["config_ms"] = config_ms;
  return out;
}

// Takes what is to be written and says yes.
class Recorder : public netlink::Transport {
 public:
  netlink::Bytes written;

  Result<void> transact(netlink::Bytes& requests,
                        const std::function<void(size_t, const netlink::Answer&)>& answered) override {
    size_t count = 0;
    written.insert(written.end(), requests.begin(), requests.end());
    return netlink::for_each_message(requests, [&](const nlmsghdr&, netlink::BytesView) -> Result<void> {
      answered(count++, {});
      return {};
    });
  }
  Result<void> dump(netlink::Bytes, const netlink::MessageSink&) override { return {}; }
  Result<void> get(netlink::Bytes, const netlink::MessageSink&) override { return {}; }
  [[nodiscard]] uint64_t writes() const override { return 0; }
};

// The agent's own messages.
struct Messages {
  netlink::Bytes objects;  // that rules refer to, and so come first
  netlink::Bytes rules;
  [[nodiscard]] size_t size() const { return objects.size() + rules.size(); }
};

Messages encode_all(const agent::Difference& difference, agent::SlowPath& programs) {
  agent::SharedActions shared(difference.world.facts.instance);
  Recorder recorder;
  for (const tc::Step& step : difference.steps)
    if (step.kind != tc::Step::Kind::remove) shared.want(difference.wanted.rules[step.rule].rule.spec);
  (void)must(shared.ready(recorder));
  Messages messages{std::move(recorder.written), {}};
  for (const tc::Step& step : difference.steps) {
    if (step.kind == tc::Step::Kind::remove) continue;
    const tc::CompiledRule& rule = difference.wanted.rules[step.rule];
    must(agent::append_write(messages.rules, agent::Write::add, rule.rule, rule.cookie, programs, &shared));
  }
  return messages;
}

// Equal bytes per part, cut between messages.
std::vector<netlink::Bytes> cut(netlink::BytesView messages, unsigned parts) {
  std::vector<netlink::Bytes> out(1);
  size_t seen = 0;
  must(netlink::for_each_message(messages, [&](const nlmsghdr& header, netlink::BytesView) -> Result<void> {
    if (seen >= messages.size() * out.size() / parts) out.emplace_back();
    const auto message = messages.subspan(seen, NLMSG_ALIGN(header.nlmsg_len));
    out.back().insert(out.back().end(), message.begin(), message.end());
    seen += message.size();
    return {};
  }));
  return out;
}

// A socket and a thread for each part.
RawNetlink::Written write_side_by_side(std::vector<RawNetlink>& sockets, netlink::BytesView messages) {
  std::vector<netlink::Bytes> parts = cut(messages, static_cast<unsigned>(sockets.size()));
  std::vector<std::future<RawNetlink::Written>> written;
  for (size_t i = 0; i < parts.size(); ++i)
    written.push_back(std::async(std::launch::async, [&, i] { return must(sockets[i].write(parts[i], kPerSend)); }));
  RawNetlink::Written sum;
  for (auto& each : written) {
    const RawNetlink::Written part = each.get();
    sum.ms = std::max(sum.ms, part.ms);
    sum.messages += part.messages;
    sum.refused += part.refused;
  }
  return sum;
}

json floor(const std::string& directory, unsigned threads) {
  Bench bench(1);
  agent::Kernel kernel = bench.kernel();
  const auto difference = must(agent::find_difference(kernel, read(directory), bench.paths()));
  const Messages messages = encode_all(difference, kernel.slow_path);
  std::vector<RawNetlink> sockets;
  for (unsigned i = 0; i < threads; ++i) sockets.push_back(must(RawNetlink::open()));
  const auto objects = write_side_by_side(sockets, messages.objects);
  const auto rules = write_side_by_side(sockets, messages.rules);
  if (const size_t refused = objects.refused + rules.refused; refused != 0)
    die(std::to_string(refused) + " messages were refused");
  return {
      {"ms", objects.ms + rules.ms}, {"messages", objects.messages + rules.messages}, {"write_bytes", messages.size()}};
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
  fs::create_directories(live);
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

class PretendPrograms : public StandInPrograms {
 public:
  Result<int> program_fd(const tc::Bpf&) override { return 3; }
};

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
    uint32_t index = 10;
    for (const auto& tenant : config.tenants)
      for (const auto& port : tenant.ports) facts.ports.emplace(tc::PortKey{tenant.name, port.name}, IfIndex(index++));
    begin = BenchClock::now();
    agent::Difference difference;
    difference.wanted = tc::compile(config, facts);
    out["compile_ms"] = ms_since(begin);
    begin = BenchClock::now();
    difference.steps = tc::diff(difference.wanted.rules, {});
    out["diff_ms"] = ms_since(begin);
    begin = BenchClock::now();
    PretendPrograms programs;
    const Messages messages = encode_all(difference, programs);
    out["encode_ms"] = ms_since(begin);
    out["rules"] = difference.wanted.rules.size();
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
  if (command == "floor") return floor(word(1), threads);
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
                                       {{"--threads", true}, {"--times", true}, {"--plain"}});
  if (!options) bench::die(options.error());
  std::cout << bench::run(*options).dump() << std::endl;
}
