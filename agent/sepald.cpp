// sepald: keeps this host's tc rules true to a directory of YAML until it is told to stop; then they stay.
#include <csignal>
#include <iostream>

#include "agent/daemon.hpp"
#include "agent/events.hpp"
#include "agent/exit_codes.hpp"
#include "agent/lock.hpp"
#include "agent/notify.hpp"
#include "agent/open_kernel.hpp"
#include "agent/options.hpp"
#include "agent/version.hpp"
#include "base/log.hpp"
#include "netlink/link_monitor.hpp"
#include "netlink/route_monitor.hpp"

namespace {

using namespace sepal;
using namespace sepal::agent;

constexpr std::string_view kHelp = R"(usage: sepald [OPTION...]

  --config DIR             the configuration (/etc/sepal)
  --instance NAME          which of several on one host (default)
  --look-interval SECONDS  how often the kernel is compared with the configuration (10)
  --log-level LEVEL        error, warning, notice, info or debug (info)
  --run-dir DIR            where lock, socket and state are (/run/sepal)
  --help, --version

SIGHUP reads the configuration again; SIGTERM and SIGINT end the daemon and leave every rule in place.
)";

// A host that speaks BGP may change routes faster than they are worth reading: with this rest between two readings they
// cost a few percent of a CPU at most, and what the kernel then drops is "everything may have changed".
constexpr std::chrono::milliseconds kRoutesPause{5};

std::optional<log::Level> parse_level(std::string_view text) {
  constexpr std::pair<std::string_view, log::Level> kLevels[] = {{"error", log::Level::error},
                                                                 {"warning", log::Level::warning},
                                                                 {"notice", log::Level::notice},
                                                                 {"info", log::Level::info},
                                                                 {"debug", log::Level::debug}};
  for (const auto& [name, level] : kLevels)
    if (name == text) return level;
  return std::nullopt;
}

int usage_error(std::string_view what) {
  std::cerr << "sepald: " << what << "; see sepald --help\n";
  return kExitUsage;
}

int fatal(const Error& error, int code) {
  log::error("cannot-start", error.message());
  return code;
}

int serve(DaemonSettings settings) {
  Notifier notifier = Notifier::from_environment();
  if (auto made = make_run_directory(settings.paths); !made) return fatal(made.error(), kExitError);
  auto lock = WriterLock::take(settings.paths.lock);
  if (!lock) return fatal(lock.error(), lock.error().code == Errc::conflict ? kExitLocked : kExitError);
  // Before the first look, so that no change falls between them.
  auto monitor = netlink::LinkMonitor::open({});
  if (!monitor) return fatal(monitor.error(), kExitError);
  auto routes = netlink::RouteMonitor::open();
  if (!routes) return fatal(routes.error(), kExitError);
  auto events = Events::open(settings.paths.socket);
  if (!events) return fatal(events.error(), kExitError);
  OpenKernel kernel(settings.paths.instance);
  Daemon daemon(kernel.borrow(), settings, **events, notifier);
  const bool hears_links = (*events)->watch(monitor->fd(), [&monitor, &daemon] {
    auto changes = monitor->drain();
    if (!changes || !changes->empty()) daemon.links_changed();
    return changes.has_value();
  });
  daemon.set_device_events([&monitor] { return monitor->take(); });
  const bool hears_routes = (*events)->watch(
      routes->fd(),
      [&routes, &daemon] {
        const auto changes = routes->drain();
        if (changes && !changes->empty()) daemon.routes_changed(*changes);
        return changes.has_value();
      },
      kRoutesPause);
  if (!hears_links || !hears_routes)
    return fatal({Errc::internal, 0, "wait for changes of devices and routes", {}}, kExitError);
  const int code = daemon.run();
  events->reset();
  lock->remove_file();
  return code;
}

int run(const std::vector<std::string>& arguments) {
  auto options = Options::parse(arguments, {{"--help"},
                                            {"--version"},
                                            {"--config", true},
                                            {"--instance", true},
                                            {"--look-interval", true},
                                            {"--log-level", true},
                                            {"--run-dir", true}});
  if (!options) return usage_error(options.error().message());
  if (options->has("--help")) {
    std::cout << kHelp;
    return kExitOk;
  }
  if (options->has("--version")) {
    std::cout << "sepald " << kVersion << '\n';
    return kExitOk;
  }
  if (!options->words().empty()) return usage_error("'" + options->words().front() + "' is one word too many");
  auto paths = Paths::make(options->value("--instance", kDefaultInstance), options->value("--run-dir", kRunDirectory));
  if (!paths) return usage_error(paths.error().message());
  const auto interval = options->number("--look-interval", 1, 86'400);
  if (!interval) return usage_error(interval.error().message());
  const auto level = parse_level(options->value("--log-level", "info"));
  if (!level) return usage_error("--log-level is error, warning, notice, info or debug");
  log::set_level(*level);
  DaemonSettings settings{options->value("--config", kConfigDirectory), std::move(*paths)};
  if (*interval) settings.look_interval = std::chrono::seconds(**interval);
  return serve(std::move(settings));
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  return run(std::vector<std::string>(argv + 1, argv + argc));
}
