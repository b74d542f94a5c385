// doctor: looks at the host, says what it found, and on demand tries the NIC or writes the support archive.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/clsact.hpp"
#include "agent/commands.hpp"
#include "agent/control.hpp"
#include "agent/doctor/bundle.hpp"
#include "agent/doctor/checks.hpp"
#include "agent/doctor/gather.hpp"
#include "agent/doctor/probe.hpp"
#include "agent/exit_codes.hpp"
#include "agent/explain.hpp"
#include "agent/lock.hpp"
#include "agent/version.hpp"
#include "agent/world.hpp"

namespace sepal::agent {
namespace {

using doctor::Findings;
using doctor::State;

const std::string kProbe = "probe";

// Two writers would disturb each other, so where nobody else holds the lock the doctor does while it probes. A running
// sepald is no hindrance: it sees the probes as somebody else's filters, in a chain it never uses, and makes and
// removes no clsact meanwhile that they depend on, for a clsact with others' filters stays.
class ProbeLocks {
 public:
  static Result<ProbeLocks> take(const Paths& paths) {
    if (auto made = make_run_directory(paths); !made) return Unexpected(made.error());
    auto doctor = WriterLock::take(paths.directory + "/doctor.lock");
    if (!doctor) return Unexpected(doctor.error());
    ProbeLocks locks(std::move(*doctor));
    std::error_code ignored;
    locks.fresh_ = !std::filesystem::exists(paths.lock, ignored);
    auto writer = WriterLock::take(paths.lock);
    if (writer) {
      locks.writer_.emplace(std::move(*writer));
      return locks;
    }
    if (writer.error().code != Errc::conflict) return Unexpected(writer.error());
    auto status = ask_daemon(paths.socket, {{"do", "status"}}, std::chrono::seconds(30));
    if (!status) return Unexpected(writer.error());  // not a daemon: an apply, say
    return locks;
  }
  ProbeLocks(ProbeLocks&&) = default;
  ProbeLocks& operator=(ProbeLocks&&) = delete;
  ~ProbeLocks() {
    if (!held_) return;
    if (writer_ && fresh_) writer_->remove_file();
    doctor_.remove_file();
  }
  [[nodiscard]] bool sole_writer() const { return writer_.has_value(); }

 private:
  explicit ProbeLocks(WriterLock doctor) : doctor_(std::move(doctor)) {}
  struct Held {  // false once moved from
    bool value = true;
    Held() = default;
    Held(Held&& other) noexcept : value(std::exchange(other.value, false)) {}
    Held& operator=(Held&&) = delete;
    ~Held() = default;
    explicit operator bool() const { return value; }
  };
  WriterLock doctor_;
  std::optional<WriterLock> writer_;
  bool fresh_ = false;
  Held held_;
};

// The devices that may be probed; those without a clsact get one for the time, if nobody else is at work.
class ProbeGround {
 public:
  ProbeGround(Kernel& kernel, uint16_t instance, bool may_attach)
      : kernel_(kernel), instance_(instance), may_attach_(may_attach) {}
  ~ProbeGround() {
    for (const IfIndex device : attached_) (void)detach_clsact(kernel_, device, instance_);
  }
  ProbeGround(const ProbeGround&) = delete;
  ProbeGround& operator=(const ProbeGround&) = delete;

  Result<bool> prepare(IfIndex device) {
    if (ready_.contains(device)) return true;
    auto clsact = netlink::list_clsact(kernel_.route);
    if (!clsact) return Unexpected(clsact.error());
    if (!clsact->contains(device)) {
      if (!may_attach_) return false;
      auto attached = attach_clsact(kernel_, device, instance_);
      if (!attached) return Unexpected(attached.error());
      if (*attached) attached_.push_back(device);
    }
    ready_.insert(device);
    return true;
  }
  [[nodiscard]] const std::set<IfIndex>& ready() const { return ready_; }

 private:
  Kernel& kernel_;
  uint16_t instance_;
  bool may_attach_;
  std::set<IfIndex> ready_;
  std::vector<IfIndex> attached_;
};

Result<Findings> probe_shapes(const Command& command, const config::Config& config) {
  Kernel kernel = command.kernel;
  Findings findings;
  auto locks = ProbeLocks::take(command.paths);
  if (!locks) return Unexpected(locks.error());
  auto surveyed = survey(kernel, config, command.paths);
  if (!surveyed) return Unexpected(surveyed.error());
  ProbeGround ground(kernel, surveyed->facts.instance, locks->sole_writer());
  std::vector<doctor::Shape> shapes;
  std::set<IfIndex> unready;
  for (doctor::Shape& shape : doctor::shapes_of(tc::compile(config, surveyed->facts))) {
    const IfIndex device = shape.rule.id.device;
    if (device == kVxlanToCome || unready.contains(device)) {
      unready.insert(device);
      continue;
    }
    auto ready = ground.prepare(device);
    if (!ready) return Unexpected(ready.error());
    if (*ready)
      shapes.push_back(std::move(shape));
    else
      unready.insert(device);
  }
  for (const IfIndex device : unready)
    say(findings, kProbe, State::unknown,
        device == kVxlanToCome ? "the tunnel device is not there: shapes of its rules were not tried"
                               : "device " + surveyed->devices[device] + " has no clsact yet: nothing was tried on it",
        "start sepald, then probe again");
  if (auto cleared = doctor::clear_probes(kernel, ground.ready()); !cleared) return Unexpected(cleared.error());
  auto outcomes = doctor::probe(kernel, shapes);
  if (!outcomes) {
    (void)doctor::clear_probes(kernel, ground.ready());
    return Unexpected(outcomes.error());
  }
  for (doctor::Finding& finding : doctor::judge_probes(*outcomes)) findings.push_back(std::move(finding));
  return findings;
}

void print(const Output& output, const Findings& findings) {
  const std::vector<std::string> lines = doctor::to_lines(findings);
  size_t at = 0;
  for (const doctor::Finding& finding : findings) {
    Paint paint = Paint::dim;
    if (finding.state == State::warn) paint = Paint::yellow;
    if (finding.state == State::fail) paint = Paint::red;
    output.line(finding.state == State::ok ? lines[at] : output.paint(paint, lines[at]));
    ++at;
    if (!finding.cure.empty()) output.line(lines[at++]);
  }
  output.line(doctor::summary(findings));
}

}  // namespace

int command_doctor(const Command& command) {
  Kernel kernel = command.kernel;
  const doctor::Facts facts = doctor::gather(kernel, {command.directory, command.paths, {}});
  Findings findings = doctor::examine(facts);
  if (command.options.has("--probe")) {
    if (!facts.config) {
      say(findings, kProbe, State::unknown, "without a configuration there are no rules to try", "");
    } else if (auto probed = probe_shapes(command, *facts.config)) {
      for (doctor::Finding& finding : *probed) findings.push_back(std::move(finding));
    } else {
      complain(command, while_doing(probed.error(), "probe"));
      return probed.error().code == Errc::conflict ? kExitLocked : kExitError;
    }
  }
  const std::string bundle = command.options.value("--bundle", "");
  if (!bundle.empty()) {
    const auto files = doctor::collect_bundle(kernel, {&facts, &findings, command.paths, std::string(kVersion)});
    if (auto written = doctor::write_bundle(bundle, files); !written) return complain(command, written.error());
  }
  if (command.output.json()) {
    nlohmann::json out{{"findings", doctor::to_json(findings)}, {"worst", to_string(doctor::worst(findings))}};
    if (!bundle.empty()) out["bundle"] = bundle;
    command.output.print(out);
  } else {
    print(command.output, findings);
    if (!bundle.empty()) command.output.line("support archive: " + bundle);
  }
  return doctor::exit_status(findings);
}

}  // namespace sepal::agent
