// sepalctl's commands as a shell would see them: output and exit status, over a kernel in memory.
#include "agent/commands.hpp"

#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "agent/control.hpp"
#include "agent/events.hpp"
#include "agent/exit_codes.hpp"
#include "agent/lock.hpp"
#include "agent/report.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

// A daemon that gives one answer to everything.
class CannedDaemon {
 public:
  CannedDaemon(const std::string& socket, json answer) {
    auto events = Events::open(socket);
    EXPECT_TRUE(events) << events.error().message();
    thread_ = std::thread([this, inside = std::move(*events), reply = std::move(answer)] {
      while (!end_) {
        inside->wait(Clock::now() + std::chrono::milliseconds(10));
        while (const auto request = inside->take_request()) inside->reply(request->client, reply);
      }
    });
  }
  ~CannedDaemon() {
    end_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> end_ = false;
  std::thread thread_;
};

class CommandsTest : public AgentTest {
 protected:
  // A filter in memory is given back as it was written, and a request names no program's tag.
  CommandsTest() {
    slow_path_.loaded = {
        {"sepal_neigh", {}}, {"sepal_slice", {}}, {"sepal_policy", {}}, {"sepal_icmp", {}}, {"sepal_question", {}}};
  }

  struct Seen {
    int exit = -1;
    std::string out;
    std::string err;
    [[nodiscard]] json parsed() const { return json::parse(out, nullptr, false); }
  };
  using Run = int (*)(const Command&);
  Seen run(Run command, bool as_json, const std::vector<std::string>& arguments = {}) {
    auto options = Options::parse(arguments, {{"--rules"}, {"--foreign"}, {"--tenant", true}, {"--group", true}});
    EXPECT_TRUE(options) << options.error().message();
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Seen seen;
    seen.exit = command({*options, paths_, Output(as_json, false), directory_, kernel()});
    seen.out = testing::internal::GetCapturedStdout();
    seen.err = testing::internal::GetCapturedStderr();
    return seen;
  }
  Seen text(Run command, const std::vector<std::string>& arguments = {}) { return run(command, false, arguments); }
  // As a program reads it: one JSON object, nothing on stderr.
  json parsed(Run command, int exit, const std::vector<std::string>& arguments = {}) {
    const Seen seen = run(command, true, arguments);
    EXPECT_EQ(seen.exit, exit) << seen.out;
    EXPECT_EQ(seen.err, "");
    EXPECT_TRUE(seen.parsed().is_object()) << seen.out;
    return seen.parsed();
  }

  void write(const std::string& yaml) { std::ofstream(directory_ + "/sepal.yaml") << yaml; }
  void write_usual() { write(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute + kGreen); }
  void write_faulty() {
    write(kHostYaml + "---\napiVersion: sepal/v1\nkind: Tenant\nname: blue\nvni: 0\ncolour: blue\n");
  }
  // The usual world, in place; returns how many rules it has.
  size_t settle() {
    write_usual();
    return apply(usual_config()).rules;
  }
  // The first of our filters on blue-web's group 2.
  std::map<test::FilterPlace, test::StoredFilter>::iterator some_rule() {
    const uint32_t chain = tc::chain_number(tc::Lane::guest, tc::Group::nat, Vni(100));
    return kernel_.filters.lower_bound({device_index("blue-web"), 0xfffffff2U, chain, 0, 0});
  }
};

// --- without a kernel

TEST_F(CommandsTest, validate_counts_what_is_valid) {
  write_usual();
  const Seen seen = text(command_validate);
  EXPECT_EQ(seen.exit, kExitOk);
  EXPECT_EQ(seen.out, directory_ + ": valid: 2 tenants, 3 ports in 1 file\n");
  EXPECT_EQ(seen.err, "");
  const json out = parsed(command_validate, kExitOk);
  EXPECT_EQ(out["valid"], true);
  EXPECT_EQ(out["tenants"], 2);
  EXPECT_EQ(out["ports"], 3);
  EXPECT_TRUE(out["faults"].empty());
}

TEST_F(CommandsTest, validate_names_each_fault_at_the_start_of_a_line_and_ends_with_three) {
  write_faulty();
  const Seen seen = text(command_validate);
  EXPECT_EQ(seen.exit, kExitInvalid);
  EXPECT_EQ(seen.out.rfind(directory_ + "/sepal.yaml:", 0), 0U) << seen.out;
  EXPECT_NE(seen.err.find("nothing was changed"), std::string::npos) << seen.err;
  const json out = parsed(command_validate, kExitInvalid);
  EXPECT_EQ(out["valid"], false);
  ASSERT_GE(out["faults"].size(), 2U);
  for (const char* field : {"file", "line", "column", "what", "hint"})
    EXPECT_TRUE(out["faults"][0].contains(field)) << field;
}

TEST_F(CommandsTest, an_invalid_configuration_ends_every_command_that_needs_one_with_three) {
  write_faulty();
  for (auto* command : {command_validate, command_lint, command_plan, command_apply, command_verify}) {
    EXPECT_EQ(text(command).exit, kExitInvalid);
    EXPECT_EQ(parsed(command, kExitInvalid)["valid"], false);
  }
  EXPECT_FALSE(std::filesystem::exists(paths_.lock)) << "nothing was begun";
  EXPECT_EQ(kernel_.writes(), 0U);
}

TEST_F(CommandsTest, lint_finds_nothing_in_what_we_compile) {
  write_usual();
  const json out = parsed(command_lint, kExitOk);
  EXPECT_GT(out["rules"], 50);
  EXPECT_TRUE(out["findings"].empty()) << out;
  EXPECT_NE(text(command_lint).out.find(" rules, 0 findings\n"), std::string::npos);
  EXPECT_EQ(kernel_.dumps, 0U) << "it needs no kernel";
}

TEST_F(CommandsTest, reload_without_a_daemon_says_so) {
  const Seen seen = text(command_reload);
  EXPECT_EQ(seen.exit, kExitError);
  EXPECT_NE(seen.err.find("no sepald listens on " + paths_.socket), std::string::npos) << seen.err;
}

// --- plan

TEST_F(CommandsTest, plan_for_an_empty_kernel_is_everything_and_changes_nothing) {
  write_usual();
  const json out = parsed(command_plan, kExitDifference);
  EXPECT_EQ(out["difference"], true);
  EXPECT_GT(out["add"], 50);
  EXPECT_EQ(out["add"], out["rules_wanted"]);
  EXPECT_EQ(out["replace"], 0);
  EXPECT_EQ(out["remove"], 0);
  EXPECT_EQ(out["make"].size(), 6U) << "the vxlan device and a clsact on each of five devices: " << out["make"];
  EXPECT_TRUE(out["waiting"].empty());
  EXPECT_FALSE(out.contains("rules"));
  EXPECT_EQ(kernel_.writes(), 0U);
  EXPECT_FALSE(std::filesystem::exists(paths_.lock));

  const Seen seen = text(command_plan);
  EXPECT_EQ(seen.exit, kExitDifference);
  EXPECT_NE(seen.out.find("tenant blue (vni 100)\n"), std::string::npos) << seen.out;
  EXPECT_NE(seen.out.find(" to add, 0 to replace, 0 to remove, of "), std::string::npos) << seen.out;
}

TEST_F(CommandsTest, plan_ends_with_zero_when_the_kernel_is_as_configured) {
  const size_t rules = settle();
  const Seen seen = text(command_plan);
  EXPECT_EQ(seen.exit, kExitOk);
  EXPECT_EQ(seen.out, "no difference: " + std::to_string(rules) + " rules in place\n");
  EXPECT_EQ(parsed(command_plan, kExitOk)["difference"], false);
}

TEST_F(CommandsTest, plan_tells_what_goes_and_rule_by_rule_when_asked) {
  settle();
  write(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute);
  const json out = parsed(command_plan, kExitDifference, {"--rules"});
  EXPECT_EQ(out["add"], 0);
  EXPECT_GT(out["remove"], 0);
  size_t removed = 0;
  for (const json& rule : out["rules"]) removed += rule["change"] == "remove" ? 1 : 0;
  EXPECT_EQ(removed, out["remove"]);
  for (const json& change : out["changes"]) EXPECT_NE(change["vni"], 100) << change;
  const Seen seen = text(command_plan, {"--rules"});
  EXPECT_NE(seen.out.find("\n- dev green-web "), std::string::npos) << seen.out;
}

TEST_F(CommandsTest, plan_names_ports_that_wait) {
  write_usual();
  kernel_.links.erase(device_index("blue-app"));
  const json out = parsed(command_plan, kExitDifference);
  EXPECT_EQ(out["waiting"], json::parse(R"([{"tenant": "blue", "port": "app"}])"));
  EXPECT_NE(text(command_plan).out.find("waiting: tenant blue, port app: its device is not there\n"),
            std::string::npos);
}

TEST_F(CommandsTest, a_missing_underlay_device_ends_with_one_and_its_name) {
  write_usual();
  kernel_.links.erase(device_index("uplink"));
  for (auto* command : {command_plan, command_verify, command_apply}) {
    const Seen seen = text(command);
    EXPECT_EQ(seen.exit, kExitError);
    EXPECT_NE(seen.err.find("underlay device 'uplink' is not there"), std::string::npos) << seen.err;
    EXPECT_EQ(parsed(command, kExitError)["error"]["code"], "not-found");
  }
}

// --- show

TEST_F(CommandsTest, show_tells_every_rule_with_its_tenant_and_place) {
  const size_t rules = settle();
  const json out = parsed(command_show, kExitOk);
  ASSERT_EQ(out["rules"].size(), rules);
  EXPECT_TRUE(out["foreign"].empty());
  EXPECT_TRUE(out["waiting"].empty());
  EXPECT_TRUE(out["refused"].empty());
  for (const char* field :
       {"device", "ifindex", "vni", "lane", "group", "chain", "prio", "protocol", "handle", "match", "actions", "words",
        "packets", "bytes", "hw_packets", "dropped_by_action", "in_hw", "skip_hw"})
    EXPECT_TRUE(out["rules"][0].contains(field)) << field;
  size_t spoofed = 0;
  for (const json& rule : out["rules"])
    spoofed += rule.value("drop", "") == "spoofed" && rule["device"] == "blue-web" ? 1 : 0;
  EXPECT_GT(spoofed, 0U);

  const Seen seen = text(command_show);
  EXPECT_EQ(seen.exit, kExitOk);
  EXPECT_NE(seen.out.find("blue-web  (tenant blue, port web)\n  g0  shared ingress\n"), std::string::npos) << seen.out;
  EXPECT_NE(seen.out.find("  g2 vni 100  connections and NAT, tenant blue\n"), std::string::npos) << seen.out;
  EXPECT_NE(seen.out.find("\n" + std::to_string(rules) + " rules\n"), std::string::npos) << seen.out;
}

TEST_F(CommandsTest, show_chooses_by_tenant_and_by_group) {
  settle();
  const json blue = parsed(command_show, kExitOk, {"--tenant", "blue"})["rules"];
  const json green = parsed(command_show, kExitOk, {"--tenant", "200"})["rules"];
  ASSERT_FALSE(blue.empty());
  ASSERT_FALSE(green.empty());
  for (const json& rule : blue) EXPECT_EQ(rule["vni"], 100);
  for (const json& rule : green) EXPECT_EQ(rule["tenant"], "green");
  const json routes = parsed(command_show, kExitOk, {"--group", "3"})["rules"];
  ASSERT_FALSE(routes.empty());
  for (const json& rule : routes) EXPECT_EQ(rule["group"], 3);

  EXPECT_EQ(parsed(command_show, kExitError, {"--tenant", "red"})["error"]["code"], "not-found");
  EXPECT_NE(text(command_show, {"--tenant", "red"}).err.find("no tenant 'red'"), std::string::npos);
  EXPECT_EQ(text(command_show, {"--group", "8"}).exit, kExitError);
}

TEST_F(CommandsTest, show_works_without_a_configuration_and_then_tenants_are_numbers) {
  const size_t rules = settle();
  std::filesystem::remove(directory_ + "/sepal.yaml");
  const json out = parsed(command_show, kExitOk);
  ASSERT_EQ(out["rules"].size(), rules);
  for (const json& rule : out["rules"]) EXPECT_FALSE(rule.contains("tenant"));
  EXPECT_NE(text(command_show).out.find("so tenants are numbers"), std::string::npos);
}

TEST_F(CommandsTest, show_lists_filters_of_others_apart) {
  settle();
  add_foreign("blue-web", 7, 60000, "bpf");
  const json out = parsed(command_show, kExitOk, {"--foreign"});
  EXPECT_TRUE(out["rules"].empty());
  ASSERT_EQ(out["foreign"].size(), 1U);
  EXPECT_EQ(out["foreign"][0]["kind"], "bpf");
  EXPECT_EQ(out["foreign"][0]["chain"], 7);
  const Seen seen = text(command_show, {"--foreign"});
  EXPECT_NE(seen.out.find("1 filter of others, never changed by sepal\n"), std::string::npos) << seen.out;
}

TEST_F(CommandsTest, show_names_a_rule_that_is_not_as_configured) {
  settle();
  write(kHostYaml + kBlueHead + kWebPort + kAppPort + "routes:\n  - {to: 10.0.0.2/32, via: 192.0.2.3}\n" + kGreen);
  size_t changed = 0;
  const json out = parsed(command_show, kExitOk);
  for (const json& rule : out["rules"]) changed += rule.value("changed", false) ? 1 : 0;
  EXPECT_EQ(changed, 2U) << "the route in each of blue's two ports' blocks";
}

TEST_F(CommandsTest, show_and_status_tell_when_a_refused_rule_is_tried_again) {
  settle();
  const json refused{{"purpose", "tenant blue, port web"},
                     {"rule", "dev blue-web"},
                     {"held", false},
                     {"attempts", 3},
                     {"error", {{"message", "kernel says: no such match"}}},
                     {"retry_in_ms", 3001}};
  const CannedDaemon daemon(paths_.socket, {{"ok", true}, {"report", {{"refused", {refused}}}}});
  const std::string line = "refused: tenant blue, port web: kernel says: no such match; tried 3 times, again in 4 s\n";
  const Seen shown = text(command_show);
  EXPECT_EQ(shown.exit, kExitOk);
  EXPECT_NE(shown.out.find(line), std::string::npos) << shown.out;
  const Seen status = text(command_status);
  EXPECT_EQ(status.exit, kExitRefused);
  EXPECT_NE(status.out.find(line), std::string::npos) << status.out;
  EXPECT_EQ(parsed(command_show, kExitOk)["refused"], json::array({refused}));
}

// --- verify

TEST_F(CommandsTest, verify_ends_with_zero_when_the_kernel_understood_every_rule) {
  const size_t rules = settle();
  const json out = parsed(command_verify, kExitOk);
  EXPECT_EQ(out["rules"], rules);
  EXPECT_TRUE(out["mismatches"].empty()) << out["mismatches"];
  EXPECT_EQ(text(command_verify).out, std::to_string(rules) + " rules, 0 told differently by the kernel\n");
}

TEST_F(CommandsTest, verify_sees_what_cookies_hide) {
  settle();
  // The bytes of another rule under a cookie that is as wanted: plan believes it, verify does not.
  const auto rule = some_rule();
  auto wanted = tc::decode_filter(test::filter_message(rule->first, rule->second, false));
  ASSERT_TRUE(wanted && wanted->state.cookie);
  tc::Rule other = wanted->rule;
  other.spec.match.set(tc::Key::ct_mark, 4, 4);
  netlink::Bytes bytes;
  ASSERT_TRUE(tc::encode_add(bytes, other, *wanted->state.cookie, tc::AddMode::replace, {}));
  ASSERT_TRUE(netlink::transact_one(kernel_, bytes));

  EXPECT_EQ(text(command_plan).exit, kExitOk);
  const json out = parsed(command_verify, kExitDifference);
  ASSERT_EQ(out["mismatches"].size(), 1U) << out;
  EXPECT_EQ(out["mismatches"][0]["kernel"].get<std::string>().find("ct_mark 0x4/0x4") != std::string::npos, true)
      << out;
  EXPECT_EQ(out["mismatches"][0]["wanted"].get<std::string>().find("ct_mark 0x4/0x4"), std::string::npos) << out;
  EXPECT_EQ(text(command_verify).exit, kExitDifference);
}

TEST_F(CommandsTest, verify_tells_missing_rules_and_rules_that_nobody_wants) {
  settle();
  const auto rule = *some_rule();
  kernel_.filters.erase(rule.first);
  json out = parsed(command_verify, kExitDifference);
  ASSERT_EQ(out["mismatches"].size(), 1U) << out;
  EXPECT_EQ(out["mismatches"][0]["kernel"], "");

  kernel_.filters.insert(rule);
  test::FilterPlace elsewhere = rule.first;
  elsewhere.chain += 1;  // of VNI 101, which nobody has
  kernel_.filters.emplace(elsewhere, rule.second);
  out = parsed(command_verify, kExitDifference);
  ASSERT_EQ(out["mismatches"].size(), 1U) << out;
  EXPECT_EQ(out["mismatches"][0]["wanted"], "");
}

// --- offload

TEST_F(CommandsTest, offload_on_veth_says_that_there_is_no_nic_and_is_content) {
  settle();
  const Seen seen = text(command_offload);
  EXPECT_EQ(seen.exit, kExitOk) << seen.out;
  EXPECT_EQ(seen.out.rfind("no NIC: ", 0), 0U) << seen.out;
  EXPECT_NE(seen.out.find("blue/web"), std::string::npos) << seen.out;
  EXPECT_NE(seen.out.find("software by design"), std::string::npos) << seen.out;
  const json out = parsed(command_offload, kExitOk);
  EXPECT_EQ(out["as_wanted"], true);
  EXPECT_EQ(out["nic"], false);
  EXPECT_EQ(out["blocks"].size(), 5U);
  EXPECT_EQ(out["blocks"][0]["cause"], "no-nic");
  EXPECT_EQ(out["tenants"].size(), 2U);
  EXPECT_EQ(out["tenants"][0]["connections"]["total"], 0);
}

TEST_F(CommandsTest, offload_ends_with_two_when_the_kernel_lacks_a_rule) {
  settle();
  kernel_.filters.erase(some_rule());
  EXPECT_NE(text(command_offload).out.find("1 rule not as the configuration wants"), std::string::npos);
  EXPECT_EQ(parsed(command_offload, kExitDifference)["differing"], 1);
}

TEST_F(CommandsTest, offload_of_one_tenant_names_no_other) {
  settle();
  const json out = parsed(command_offload, kExitOk, {"--tenant", "green"});
  EXPECT_EQ(out["tenants"].size(), 1U);
  for (const json& block : out["blocks"]) EXPECT_NE(block.value("tenant", ""), "blue");
  EXPECT_EQ(text(command_offload, {"--tenant", "red"}).exit, kExitError);
}

TEST_F(CommandsTest, show_and_offload_place_a_rule_alike) {
  settle();
  size_t software_only = 0;
  const json shown = parsed(command_show, kExitOk);
  for (const json& rule : shown["rules"]) {
    software_only += rule["placement"] == "software only" ? 1U : 0U;
    EXPECT_EQ(rule["cause"], rule["skip_hw"] == true ? "by-design" : "no-nic") << rule;
    EXPECT_NE(rule["shape"], "") << rule;
  }
  EXPECT_GT(software_only, 20U);
  EXPECT_EQ(parsed(command_offload, kExitOk)["software_only"], software_only);
}

// --- apply and remove

TEST_F(CommandsTest, apply_ends_with_four_and_the_kernels_words_when_a_rule_is_refused) {
  write_usual();
  kernel_.refuse = [this](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    auto filter = tc::decode_filter(message);
    const bool egress = filter && filter->kind == "flower" && filter->rule.id.device == device_index("blue-web") &&
                        tc::parse_chain(filter->rule.id.chain).group == tc::Group::egress &&
                        filter->rule.id.prio < 1000;
    if (!egress) return std::nullopt;
    return test::FakeKernel::Refusal{EOPNOTSUPP, "driver: no such match"};
  };
  const Seen seen = text(command_apply);
  EXPECT_EQ(seen.exit, kExitRefused) << seen.out;
  EXPECT_NE(seen.out.find("refused: tenant blue, port app (" + directory_ + "/sepal.yaml:"), std::string::npos)
      << seen.out;
  EXPECT_NE(seen.out.find("driver: no such match"), std::string::npos) << seen.out;
  const json out = parsed(command_apply, kExitRefused);
  EXPECT_EQ(out["ok"], false);
  ASSERT_EQ(out["refused"].size(), 1U);
  EXPECT_EQ(out["refused"][0]["error"]["kernel"], "driver: no such match");
  EXPECT_FALSE(out["refused"][0].contains("retry_in_ms")) << "nobody tries again";

  kernel_.refuse = nullptr;
  EXPECT_EQ(parsed(command_apply, kExitOk)["added"], 1);
  EXPECT_EQ(parsed(command_apply, kExitOk)["added"], 0);
}

TEST_F(CommandsTest, a_second_writer_is_sent_away_with_five) {
  settle();
  auto lock = WriterLock::take(paths_.lock);
  ASSERT_TRUE(lock);
  const uint64_t writes = kernel_.writes();
  for (auto* command : {command_apply, command_remove}) EXPECT_EQ(text(command).exit, kExitLocked);
  EXPECT_EQ(kernel_.writes(), writes);
}

TEST_F(CommandsTest, remove_takes_out_what_apply_put_in) {
  const size_t rules = settle();
  const json out = parsed(command_remove, kExitOk);
  EXPECT_EQ(out["rules"], rules);
  EXPECT_EQ(out["removed"].size(), 8U) << "what rules shared, five clsacts, the vxlan device, eBPF: " << out["removed"];
  EXPECT_TRUE(kernel_.filters.empty());
  EXPECT_FALSE(std::filesystem::exists(paths_.lock));
}

}  // namespace
}  // namespace sepal::agent
