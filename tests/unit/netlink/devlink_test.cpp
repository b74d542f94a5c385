// devlink as bytes. Requests marked "seen" come from strace of iproute2's `devlink` (6.1) for a device that is not
// there; replies, and what iproute2 asks the device about first, are laid out by hand after linux/devlink.h.
#include "netlink/devlink.hpp"

#include <cerrno>

#include "tests/unit/netlink/generic_bed.hpp"

namespace sepal::netlink {
namespace {

constexpr const char* kPci = "0000:3b:00.0";
const GenericFamily kFamily{"devlink", 0x15, 1, {{"config", 5}}};
// DEVLINK_ATTR_BUS_NAME, DEVLINK_ATTR_DEV_NAME
const std::string kHandle = "08 00 01 00 \"pci\" 00  11 00 02 00 \"0000:3b:00.0\" 00 00 00 00\n";

std::string request(const std::string& length, const std::string& command, const std::string& rest = "") {
  return length + " 00 00 00 15 00 05 00 00 00 00 00 00 00 00 00 " + command + " 01 00 00 " + kHandle + rest;
}

class DevlinkBytes : public GenericBed {
 protected:
  Devlink devlink_{*transport_, kFamily};
  void SetUp() override { kernel_->reply = nullptr; }
};

TEST_F(DevlinkBytes, the_modes_of_an_eswitch_are_set_each_by_its_own_attribute) {
  // seen: devlink dev eswitch set pci/0000:3b:00.0 mode switchdev
  ASSERT_TRUE(set_eswitch(devlink_, kPci, {.mode = EswitchMode::switchdev}));
  expect_sent(request("38", "1e", "06 00 19 00 01 00 00 00"));
  // seen: … inline-mode transport
  ASSERT_TRUE(set_eswitch(devlink_, kPci, {.inline_mode = InlineMode::transport}));
  expect_sent(request("38", "1e", "05 00 1a 00 03 00 00 00"));
  // seen: … encap-mode basic
  ASSERT_TRUE(set_eswitch(devlink_, kPci, {.encap = true}));
  expect_sent(request("38", "1e", "05 00 3e 00 01 00 00 00"));
}

TEST_F(DevlinkBytes, the_modes_of_an_eswitch_are_read) {
  answer(kFamily.id,
         {"1d 01 00 00 " + kHandle + "06 00 19 00 01 00 00 00  05 00 1a 00 02 00 00 00  05 00 3e 00 01 00 00 00"});
  auto eswitch = get_eswitch(devlink_, kPci);
  ASSERT_TRUE(eswitch) << eswitch.error().message();
  EXPECT_EQ(*eswitch, (Eswitch{EswitchMode::switchdev, InlineMode::network, true}));
  expect_sent(request("30", "1d"));  // seen: devlink dev eswitch show pci/0000:3b:00.0
}

TEST_F(DevlinkBytes, what_a_driver_does_not_tell_or_tells_too_new_is_unknown) {
  answer(kFamily.id, {"1d 01 00 00 " + kHandle + "06 00 19 00 02 00 00 00"});  // 2: switchdev_inactive of Linux 7
  EXPECT_EQ(*get_eswitch(devlink_, kPci), Eswitch{});
}

TEST_F(DevlinkBytes, a_refusal_carries_the_drivers_words_and_the_device) {
  kernel_->refuse[0] = {.error = EBUSY, .ext_ack = "mlx5_core: Can't change mode, E-Switch is busy"};
  auto set = set_eswitch(devlink_, kPci, {.mode = EswitchMode::switchdev});
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().code, Errc::transient);
  EXPECT_EQ(set.error().message(),
            "devlink pci/0000:3b:00.0: set the eSwitch: Device or resource busy: kernel says: "
            "mlx5_core: Can't change mode, E-Switch is busy");
}

// DEVLINK_ATTR_PARAM { NAME, GENERIC?, TYPE string, VALUES_LIST { VALUE { DATA, CMODE } … } }; two modes, as a
// parameter with a value for the next driver start has.
const std::string kSteering = "26 01 00 00 " + kHandle + R"(
  58 00 50 00 17 00 51 00 "flow_steering_mode" 00 00
              05 00 53 00 05 00 00 00
              34 00 54 00 18 00 55 00 09 00 56 00 "dmfs" 00 00 00 00 05 00 57 00 01 00 00 00
                          18 00 55 00 09 00 56 00 "smfs" 00 00 00 00 05 00 57 00 00 00 00 00
)";

TEST_F(DevlinkBytes, a_parameter_is_read_in_its_runtime_mode) {
  answer(kFamily.id, {kSteering});
  auto value = get_param(devlink_, kPci, "flow_steering_mode");
  ASSERT_TRUE(value) << value.error().message();
  EXPECT_EQ(*value, ParamValue(std::string("smfs")));
  // seen: devlink dev param show pci/0000:3b:00.0 name flow_steering_mode
  expect_sent(request("48", "26", "17 00 51 00 \"flow_steering_mode\" 00 00"));
}

TEST_F(DevlinkBytes, a_boolean_parameter_is_a_flag_that_is_there_or_not) {
  const std::string head = "26 01 00 00 " + kHandle;
  const std::string name = "16 00 51 00 \"esw_port_metadata\" 00 00 00  05 00 53 00 06 00 00 00 ";
  answer(kFamily.id, {head + "38 00 50 00 " + name + "14 00 54 00 10 00 55 00 04 00 56 00 05 00 57 00 00 00 00 00"});
  EXPECT_EQ(*get_param(devlink_, kPci, "esw_port_metadata"), ParamValue(true));
  answer(kFamily.id, {head + "34 00 50 00 " + name + "10 00 54 00 0c 00 55 00 05 00 57 00 00 00 00 00"});
  EXPECT_EQ(*get_param(devlink_, kPci, "esw_port_metadata"), ParamValue(false));
}

TEST_F(DevlinkBytes, a_parameter_the_driver_lacks_is_no_error) {
  kernel_->refuse[0] = {.error = EINVAL};
  auto value = get_param(devlink_, kPci, "flow_steering_mode");
  ASSERT_TRUE(value) << value.error().message();
  EXPECT_FALSE(*value);
  kernel_->refuse[1] = {.error = ENODEV};
  EXPECT_EQ(get_param(devlink_, kPci, "flow_steering_mode").error().code, Errc::not_found);
}

TEST_F(DevlinkBytes, parameters_are_set_by_type_in_runtime_mode) {
  ASSERT_TRUE(set_param(devlink_, kPci, "flow_steering_mode", std::string("smfs")));
  expect_sent(request("64", "27", R"(17 00 51 00 "flow_steering_mode" 00 00  05 00 57 00 00 00 00 00
                                     05 00 53 00 05 00 00 00  09 00 56 00 "smfs" 00 00 00 00)"));
  ASSERT_TRUE(set_param(devlink_, kPci, "esw_port_metadata", true));
  expect_sent(request("5c", "27", R"(16 00 51 00 "esw_port_metadata" 00 00 00  05 00 57 00 00 00 00 00
                                     05 00 53 00 06 00 00 00  04 00 56 00)"));
  ASSERT_TRUE(set_param(devlink_, kPci, "esw_port_metadata", false));
  expect_sent(request("58", "27", R"(16 00 51 00 "esw_port_metadata" 00 00 00  05 00 57 00 00 00 00 00
                                     05 00 53 00 06 00 00 00)"));
}

TEST_F(DevlinkBytes, versions_in_use_are_read_all_of_them) {
  answer(kFamily.id, {"33 01 00 00 " + kHandle + R"(
    0e 00 62 00 "mlx5_core" 00 00 00
    20 00 64 00 0c 00 67 00 "fw.psid" 00 0f 00 68 00 "MT_0000001" 00 00
    24 00 65 00 0f 00 67 00 "fw.version" 00 00 0f 00 68 00 "26.31.2006" 00 00
    1c 00 65 00 07 00 67 00 "fw" 00 00 0f 00 68 00 "26.31.2006" 00 00)"});
  auto info = get_info(devlink_, kPci);
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->driver, "mlx5_core");
  EXPECT_EQ(info->running, (std::map<std::string, std::string>{{"fw", "26.31.2006"}, {"fw.version", "26.31.2006"}}));
  expect_sent(request("30", "33"));  // seen: devlink dev info pci/0000:3b:00.0
}

const std::string kUplink = "07 01 00 00 " + kHandle + R"(
  08 00 03 00 ff ff 00 00
  06 00 04 00 02 00 00 00
  08 00 06 00 34 12 00 00                       # ifindex 0x1234
  0b 00 07 00 "uplink" 00 00
  06 00 4d 00 00 00 00 00                       # physical
  08 00 4e 00 01 00 00 00                       # p1
)";
const std::string kRepresentor = "07 01 00 00 " + kHandle + R"(
  08 00 03 00 04 00 01 00                       # port 0x10004
  06 00 04 00 02 00 00 00
  06 00 4d 00 04 00 00 00                       # pci_vf
  08 00 96 00 00 00 00 00
  06 00 7f 00 01 00 00 00                       # pf 1
  06 00 80 00 03 00 00 00                       # vf 3
  10 00 91 00 0a 00 01 00 02 00 00 00 00 0a 00 00
)";
const std::string kOtherCard = R"(07 01 00 00 08 00 01 00 "pci" 00 11 00 02 00 "0000:3b:00.1" 00 00 00 00
  08 00 03 00 ff ff 00 00 06 00 4d 00 00 00 00 00)";

TEST_F(DevlinkBytes, ports_of_the_function_are_listed_and_no_others) {
  answer(kFamily.id, {kRepresentor, kOtherCard, kUplink}, true);
  auto ports = list_ports(devlink_, kPci);
  ASSERT_TRUE(ports) << ports.error().message();
  ASSERT_EQ(ports->size(), 2U);
  EXPECT_EQ((*ports)[0].flavour, PortFlavour::physical);
  EXPECT_EQ((*ports)[0].netdev, IfIndex(0x1234));
  EXPECT_EQ((*ports)[0].netdev_name, "uplink");
  EXPECT_EQ((*ports)[0].number, 1U);
  EXPECT_FALSE((*ports)[0].function_mac);
  EXPECT_EQ((*ports)[1].flavour, PortFlavour::pci_vf);
  EXPECT_EQ((*ports)[1].index, 0x10004U);
  EXPECT_EQ((*ports)[1].pf, 1);
  EXPECT_EQ((*ports)[1].vf, 3);
  EXPECT_EQ((*ports)[1].netdev, IfIndex());  // not there yet
  EXPECT_EQ((*ports)[1].function_mac, MacAddr::parse("02:00:00:00:00:0a"));
  expect_sent("14 00 00 00 15 00 05 03 00 00 00 00 00 00 00 00 05 01 00 00");  // seen: devlink port show
}

TEST_F(DevlinkBytes, the_mac_of_a_function_is_set_through_its_port) {
  ASSERT_TRUE(set_function_mac(devlink_, kPci, 65537, *MacAddr::parse("02:00:00:00:00:0a")));
  // seen: devlink port function set pci/0000:3b:00.0/65537 hw_addr 02:00:00:00:00:0a
  // (its padding holds stray bytes)
  expect_sent(request("48", "06", R"(08 00 03 00 01 00 01 00
                                     10 00 91 80 0a 00 01 00 02 00 00 00 00 0a 00 00)"));
}

TEST_F(DevlinkBytes, a_cut_reply_is_refused) {
  answer(kFamily.id, {"07 01 00 00 08 00 01 00 \"pci\" 00 ff 00 02 00 \"0000\""}, true);
  EXPECT_EQ(list_ports(devlink_, kPci).error().code, Errc::protocol);
}

}  // namespace
}  // namespace sepal::netlink
