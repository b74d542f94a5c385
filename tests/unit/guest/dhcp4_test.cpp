// DHCPv4 questions as clients ask them, byte by byte, and what they are answered; answers are read here without
// libtins.
#include "guest/dhcp4.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace sepal::guest {
namespace {

using Bytes = std::vector<uint8_t>;

IpAddr ip(const char* text) { return *IpAddr::parse(text); }
MacAddr mac(const char* text) { return *MacAddr::parse(text); }

const MacAddr kGuestMac = mac("02:00:00:00:00:0a");
const MacAddr kGatewayMac = mac("02:73:65:70:61:6c");

Guest web() {
  Guest guest;
  guest.mac = kGuestMac;
  guest.gateway_mac = kGatewayMac;
  guest.hostname = "web-0";
  guest.domain = "example.net";
  guest.addresses = {{ip("10.0.0.1"), *IpPrefix::parse("10.0.0.0/24"), ip("10.0.0.254")},
                     {ip("fd00::1"), *IpPrefix::parse("fd00::/64"), ip("fe80::1")}};
  guest.dns = {ip("192.0.2.53"), ip("2001:db8::53"), ip("192.0.2.54")};
  guest.ntp = {ip("192.0.2.123")};
  guest.mtu = 1450;
  guest.lease_seconds = 4000;
  return guest;
}

Guest web_without_gateway() {
  Guest guest = web();
  guest.addresses[0].gateway = ip("169.254.1.1");
  return guest;
}

void put16(Bytes& bytes, size_t at, size_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8U);
  bytes[at + 1] = static_cast<uint8_t>(value);
}
size_t get16(FrameView bytes, size_t at) { return static_cast<size_t>(bytes[at] << 8U | bytes[at + 1]); }

using Options = std::vector<std::pair<uint8_t, Bytes>>;
Bytes bytes_of(const char* address) {
  const IpAddr a = ip(address);
  return {a.bytes.begin(), a.bytes.begin() + 4};
}
Bytes text(std::string_view t) { return {t.begin(), t.end()}; }

struct Question {
  uint8_t type = 1;
  Options options;
  IpAddr source = ip("0.0.0.0");
  IpAddr destination = ip("255.255.255.255");
  IpAddr client = ip("0.0.0.0");
  IpAddr relay = ip("0.0.0.0");
  MacAddr client_mac = kGuestMac;
  uint16_t flags = 0;

  [[nodiscard]] Bytes payload() const {
    Bytes bytes(240);
    bytes[0] = bytes[1] = 1;
    bytes[2] = 6;
    bytes[4] = 0xde, bytes[5] = 0xad, bytes[6] = 0xbe, bytes[7] = 0xef;
    put16(bytes, 10, flags);
    std::copy_n(client.bytes.begin(), 4, bytes.begin() + 12);
    std::copy_n(relay.bytes.begin(), 4, bytes.begin() + 24);
    std::copy_n(client_mac.bytes.begin(), 6, bytes.begin() + 28);
    bytes[236] = 0x63, bytes[237] = 0x82, bytes[238] = 0x53, bytes[239] = 0x63;
    bytes.insert(bytes.end(), {53, 1, type});
    for (const auto& [code, value] : options) {
      bytes.push_back(code);
      bytes.push_back(static_cast<uint8_t>(value.size()));
      bytes.insert(bytes.end(), value.begin(), value.end());
    }
    bytes.push_back(255);
    return bytes;
  }
  [[nodiscard]] Bytes frame() const {
    const Bytes inside = payload();
    Bytes bytes(42);
    std::fill_n(bytes.begin(), 6, uint8_t{0xff});
    std::copy_n(kGuestMac.bytes.begin(), 6, bytes.begin() + 6);
    put16(bytes, 12, 0x0800);
    bytes[14] = 0x45;
    put16(bytes, 16, 28 + inside.size());
    bytes[22] = 64, bytes[23] = 17;
    std::copy_n(source.bytes.begin(), 4, bytes.begin() + 26);
    std::copy_n(destination.bytes.begin(), 4, bytes.begin() + 30);
    put16(bytes, 34, 68), put16(bytes, 36, 67), put16(bytes, 38, 8 + inside.size());
    bytes.insert(bytes.end(), inside.begin(), inside.end());
    return bytes;
  }
};

uint16_t sum(FrameView bytes, uint32_t start = 0) {
  uint32_t total = start;
  for (size_t i = 0; i < bytes.size(); i += 2)
    total += static_cast<uint32_t>(bytes[i] << 8U) + (i + 1 < bytes.size() ? bytes[i + 1] : 0U);
  while (total > 0xffff) total = (total & 0xffffU) + (total >> 16U);
  return static_cast<uint16_t>(total);
}

struct Said {
  MacAddr to, from;
  IpAddr source, destination, client, yours, next;
  std::string file;
  size_t flags = 0;
  size_t packet_bytes = 0;
  std::map<uint8_t, Bytes> options;
  std::vector<uint8_t> order;
  [[nodiscard]] int type() const { return options.contains(53) ? options.at(53)[0] : -1; }
};

IpAddr address_at(FrameView bytes, size_t at) {
  return IpAddr::v4(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

Said read(const Answer& answer) {
  Said said;
  if (!answer.frame) {
    ADD_FAILURE() << "nothing was said: " << answer.what;
    return said;
  }
  const FrameView frame = *answer.frame;
  std::copy_n(frame.begin(), 6, said.to.bytes.begin());
  std::copy_n(frame.begin() + 6, 6, said.from.bytes.begin());
  EXPECT_EQ(get16(frame, 12), 0x0800U);
  const FrameView packet = frame.subspan(14);
  EXPECT_EQ(packet[0], 0x45);
  EXPECT_EQ(get16(packet, 2), packet.size());
  EXPECT_EQ(sum(packet.first(20)), 0xffff) << "the header's checksum";
  said.source = address_at(packet, 12);
  said.destination = address_at(packet, 16);
  said.packet_bytes = packet.size();
  const FrameView udp = packet.subspan(20);
  EXPECT_EQ(get16(udp, 0), 67U);
  EXPECT_EQ(get16(udp, 2), 68U);
  EXPECT_EQ(get16(udp, 4), udp.size());
  EXPECT_EQ(sum(udp, uint32_t{sum(packet.subspan(12, 8))} + 17U + static_cast<uint32_t>(udp.size())), 0xffff);
  const FrameView dhcp = udp.subspan(8);
  EXPECT_GE(dhcp.size(), 300U);
  EXPECT_EQ(dhcp[0], 2);
  EXPECT_EQ(get16(dhcp, 4), 0xdeadU);
  EXPECT_EQ(get16(dhcp, 6), 0xbeefU);
  said.flags = get16(dhcp, 10);
  said.client = address_at(dhcp, 12);
  said.yours = address_at(dhcp, 16);
  said.next = address_at(dhcp, 20);
  EXPECT_TRUE(std::equal(kGuestMac.bytes.begin(), kGuestMac.bytes.end(), dhcp.begin() + 28));
  said.file = reinterpret_cast<const char*>(dhcp.data() + 108);
  for (size_t at = 240; at < dhcp.size() && dhcp[at] != 255; at += 2U + dhcp[at + 1]) {
    if (at + 2U + dhcp[at + 1] > dhcp.size()) {
      ADD_FAILURE() << "an option ends beyond the message";
      break;
    }
    EXPECT_FALSE(said.options.contains(dhcp[at])) << "twice: " << +dhcp[at];
    said.order.push_back(dhcp[at]);
    const FrameView value = dhcp.subspan(at + 2, dhcp[at + 1]);
    said.options[dhcp[at]] = Bytes(value.begin(), value.end());
  }
  return said;
}

constexpr int kOffer = 2;
constexpr int kAck = 5;
constexpr int kNak = 6;

Question request(Options options) { return {.type = 3, .options = std::move(options)}; }

std::string silence(const Question& question, const Guest& guest = web()) {
  const Answer answer = answer_dhcp4(question.frame(), guest);
  EXPECT_FALSE(answer.frame) << answer.what;
  return answer.what;
}

TEST(Dhcp4, a_discover_is_offered_the_configured_address_and_all_there_is_to_tell) {
  const Answer answer = answer_dhcp4(Question{}.frame(), web());
  EXPECT_EQ(answer.what, "DHCPDISCOVER: DHCPOFFER");
  const Said said = read(answer);
  EXPECT_EQ(said.type(), kOffer);
  EXPECT_EQ(said.from, kGatewayMac);
  EXPECT_EQ(said.to, kGuestMac);
  EXPECT_EQ(said.source, ip("10.0.0.254"));
  EXPECT_EQ(said.destination, ip("10.0.0.1"));
  EXPECT_EQ(said.yours, ip("10.0.0.1"));
  const std::map<uint8_t, Bytes> expected{{53, {2}},
                                          {54, bytes_of("10.0.0.254")},
                                          {51, {0, 0, 0x0f, 0xa0}},
                                          {58, {0, 0, 0x07, 0xd0}},
                                          {59, {0, 0, 0x0d, 0xac}},
                                          {1, bytes_of("255.255.255.0")},
                                          {3, bytes_of("10.0.0.254")},
                                          {28, bytes_of("10.0.0.255")},
                                          {6, {192, 0, 2, 53, 192, 0, 2, 54}},
                                          {26, {0x05, 0xaa}},
                                          {12, text("web-0")},
                                          {15, text("example.net")},
                                          {42, bytes_of("192.0.2.123")}};
  EXPECT_EQ(said.options, expected);
}

TEST(Dhcp4, of_what_is_not_needed_a_client_gets_what_it_asks_for) {
  const Said said = read(answer_dhcp4(Question{.options = {{55, {1, 3, 15}}}}.frame(), web()));
  EXPECT_TRUE(said.options.contains(15));
  for (const uint8_t code : std::initializer_list<uint8_t>{6, 12, 26, 28, 42})
    EXPECT_FALSE(said.options.contains(code)) << +code;
}

TEST(Dhcp4, a_gateway_outside_the_network_is_told_as_classless_routes_and_not_as_a_router) {
  const Said said = read(answer_dhcp4(Question{.options = {{55, {1, 3, 121}}}}.frame(), web_without_gateway()));
  EXPECT_EQ(said.source, ip("169.254.1.1"));
  EXPECT_EQ(said.options.at(1), bytes_of("255.255.255.0"));
  EXPECT_EQ(said.options.at(121), (Bytes{32, 169, 254, 1, 1, 0, 0, 0, 0, 0, 169, 254, 1, 1}));
  EXPECT_FALSE(said.options.contains(3));
}

TEST(Dhcp4, who_cannot_read_classless_routes_is_told_of_a_network_of_one_address) {
  const Said said = read(answer_dhcp4(Question{.options = {{55, {1, 3, 6}}}}.frame(), web_without_gateway()));
  EXPECT_EQ(said.options.at(1), bytes_of("255.255.255.255"));
  EXPECT_EQ(said.options.at(3), bytes_of("169.254.1.1"));
  EXPECT_FALSE(said.options.contains(121));
}

TEST(Dhcp4, the_broadcast_flag_is_honoured) {
  const Said said = read(answer_dhcp4(Question{.flags = 0x8000}.frame(), web()));
  EXPECT_EQ(said.to, mac("ff:ff:ff:ff:ff:ff"));
  EXPECT_EQ(said.destination, ip("255.255.255.255"));
  EXPECT_EQ(said.flags, 0x8000U);
}

TEST(Dhcp4, selecting_the_right_address_is_acknowledged) {
  const Answer answer =
      answer_dhcp4(request({{54, bytes_of("10.0.0.254")}, {50, bytes_of("10.0.0.1")}}).frame(), web());
  EXPECT_EQ(answer.what, "DHCPREQUEST (selecting) of 10.0.0.1: DHCPACK");
  EXPECT_EQ(read(answer).type(), kAck);
}

TEST(Dhcp4, selecting_another_address_is_refused_to_everybody) {
  const Said said =
      read(answer_dhcp4(request({{54, bytes_of("10.0.0.254")}, {50, bytes_of("10.0.0.7")}}).frame(), web()));
  EXPECT_EQ(said.type(), kNak);
  EXPECT_EQ(said.destination, ip("255.255.255.255"));
  EXPECT_EQ(said.to, mac("ff:ff:ff:ff:ff:ff"));
  EXPECT_TRUE(said.yours.is_unspecified());
  EXPECT_FALSE(said.options.contains(51));
  EXPECT_FALSE(said.options.contains(1));
}

TEST(Dhcp4, selecting_another_server_is_its_affair) {
  EXPECT_EQ(silence(request({{54, bytes_of("10.0.0.9")}, {50, bytes_of("10.0.0.1")}})),
            "DHCPREQUEST (selecting) of 10.0.0.1 from another server, 10.0.0.9");
}

TEST(Dhcp4, a_rebooted_client_keeps_its_address_or_is_told_that_it_is_not_its) {
  EXPECT_EQ(read(answer_dhcp4(request({{50, bytes_of("10.0.0.1")}}).frame(), web())).type(), kAck);
  EXPECT_EQ(read(answer_dhcp4(request({{50, bytes_of("192.168.1.7")}}).frame(), web())).type(), kNak);
}

TEST(Dhcp4, renewing_and_rebinding_are_acknowledged_to_the_address_itself) {
  for (const char* to : {"10.0.0.254", "255.255.255.255"}) {
    Question question = request({});
    question.client = question.source = ip("10.0.0.1");
    question.destination = ip(to);
    question.flags = 0x8000;
    const Said said = read(answer_dhcp4(question.frame(), web()));
    EXPECT_EQ(said.type(), kAck);
    EXPECT_EQ(said.destination, ip("10.0.0.1"));
    EXPECT_EQ(said.to, kGuestMac);
    EXPECT_EQ(said.client, ip("10.0.0.1"));
  }
  Question wrong = request({});
  wrong.client = ip("10.0.0.7");
  EXPECT_EQ(read(answer_dhcp4(wrong.frame(), web())).type(), kNak);
}

TEST(Dhcp4, inform_tells_everything_but_an_address_and_a_lease) {
  Question question{.type = 8};
  question.client = question.source = ip("10.0.0.1");
  const Said said = read(answer_dhcp4(question.frame(), web()));
  EXPECT_EQ(said.type(), kAck);
  EXPECT_TRUE(said.yours.is_unspecified());
  EXPECT_EQ(said.destination, ip("10.0.0.1"));
  for (const uint8_t code : std::initializer_list<uint8_t>{51, 58, 59})
    EXPECT_FALSE(said.options.contains(code)) << +code;
  EXPECT_TRUE(said.options.contains(6));
  question.client = ip("10.0.0.7");
  EXPECT_EQ(silence(question), "DHCPINFORM of 10.0.0.7, which is not the port's");
}

TEST(Dhcp4, release_and_decline_are_told_and_not_answered) {
  Question release{.type = 7};
  release.client = ip("10.0.0.1");
  EXPECT_EQ(silence(release), "DHCPRELEASE of 10.0.0.1");
  EXPECT_EQ(silence({.type = 4, .options = {{50, bytes_of("10.0.0.1")}}}),
            "DHCPDECLINE of 10.0.0.1: the guest says that another has it");
}

TEST(Dhcp4, silence_for_other_macs_relays_servers_and_ports_without_ipv4) {
  EXPECT_EQ(silence({.client_mac = mac("02:00:00:00:00:0b")}),
            "DHCPDISCOVER for another MAC address, 02:00:00:00:00:0b");
  EXPECT_EQ(silence({.relay = ip("10.0.0.9")}), "DHCPDISCOVER through a relay");
  EXPECT_EQ(silence({.type = 2}), "DHCPOFFER, which only servers say");
  Guest six = web();
  six.addresses.erase(six.addresses.begin());
  EXPECT_EQ(silence({}, six), "DHCPDISCOVER from a port without IPv4 address");
}

TEST(Dhcp4, a_port_with_several_addresses_gives_the_one_that_is_asked_for) {
  Guest guest = web();
  guest.addresses.push_back({ip("10.0.0.5"), *IpPrefix::parse("10.0.0.0/24"), ip("10.0.0.254")});
  EXPECT_EQ(read(answer_dhcp4(Question{}.frame(), guest)).yours, ip("10.0.0.1"));
  EXPECT_EQ(read(answer_dhcp4(Question{.options = {{50, bytes_of("10.0.0.5")}}}.frame(), guest)).yours, ip("10.0.0.5"));
}

TEST(Dhcp4, boot_files_are_for_pxe_and_ipxe_gets_its_own) {
  Guest guest = web();
  guest.boot.server = ip("192.0.2.69");
  guest.boot.file = "pxelinux.0";
  guest.boot.ipxe = "http://192.0.2.69/boot.ipxe";
  const Said plain = read(answer_dhcp4(Question{}.frame(), guest));
  EXPECT_TRUE(plain.next.is_unspecified());
  EXPECT_EQ(plain.file, "");
  const Said pxe = read(answer_dhcp4(Question{.options = {{60, text("PXEClient:Arch:00007")}}}.frame(), guest));
  EXPECT_EQ(pxe.next, ip("192.0.2.69"));
  EXPECT_EQ(pxe.file, "pxelinux.0");
  EXPECT_EQ(pxe.options.at(66), text("192.0.2.69"));
  EXPECT_EQ(pxe.options.at(67), text("pxelinux.0"));
  for (const char* user_class : {"iPXE", "\x04iPXE"}) {
    const Said ipxe =
        read(answer_dhcp4(Question{.options = {{60, text("PXEClient")}, {77, text(user_class)}}}.frame(), guest));
    EXPECT_EQ(ipxe.file, "http://192.0.2.69/boot.ipxe");
  }
}

TEST(Dhcp4, uefi_that_boots_by_http_knows_its_offer_by_its_vendor_class) {
  Guest guest = web();
  guest.boot.file = "http://192.0.2.69/boot.efi";
  const Question question{.options = {{60, text("HTTPClient:Arch:00016:UNDI:003001")}}};
  const Said http = read(answer_dhcp4(question.frame(), guest));
  EXPECT_EQ(http.options.at(60), text("HTTPClient"));
  EXPECT_EQ(http.options.at(67), text("http://192.0.2.69/boot.efi"));
  EXPECT_EQ(http.file, "http://192.0.2.69/boot.efi");
  EXPECT_FALSE(read(answer_dhcp4(question.frame(), web())).options.contains(60)) << "there is nothing to boot from";
  const Said pxe = read(answer_dhcp4(Question{.options = {{60, text("PXEClient")}}}.frame(), guest));
  EXPECT_FALSE(pxe.options.contains(60));
}

TEST(Dhcp4, networks_of_two_addresses_and_of_one_have_no_broadcast_address) {
  for (const char* subnet : {"10.0.0.0/30", "10.0.0.0/31", "10.0.0.1/32"}) {
    Guest guest = web();
    guest.addresses[0].subnet = *IpPrefix::parse(subnet);
    const Said said = read(answer_dhcp4(Question{.options = {{55, {1, 3, 28, 121}}}}.frame(), guest));
    EXPECT_EQ(said.options.contains(28), guest.addresses[0].subnet.length <= 30) << subnet;
  }
}

TEST(Dhcp4, what_is_behind_the_end_of_options_is_none) {
  Bytes frame = Question{.options = {{12, text("a")}, {0, {}}}}.frame();
  const Bytes behind{0x3d, 0xff};  // an identifier that says it is longer than the message
  frame.insert(frame.end(), behind.begin(), behind.end());
  put16(frame, 16, frame.size() - 14), put16(frame, 38, frame.size() - 34);
  const Said said = read(answer_dhcp4(frame, web()));
  EXPECT_EQ(said.type(), kOffer);
  EXPECT_FALSE(said.options.contains(61));
  frame[frame.size() - 3] = 0;  // without that end it is an option like others
  EXPECT_EQ(answer_dhcp4(frame, web()).what, "malformed DHCP: its options do not fit");
}

TEST(Dhcp4, the_clients_id_is_repeated) {
  const Said said = read(answer_dhcp4(Question{.options = {{61, {1, 2, 3, 4}}}}.frame(), web()));
  EXPECT_EQ(said.options.at(61), (Bytes{1, 2, 3, 4}));
}

TEST(Dhcp4, an_answer_fits_576_bytes_and_leaves_out_what_matters_least_unless_the_client_takes_more) {
  Guest guest = web();
  guest.mtu = 1500;
  guest.domain = std::string(60, 'a') + "." + std::string(60, 'b') + "." + std::string(60, 'c');
  guest.hostname = std::string(63, 'h');
  guest.boot.file = std::string(250, 'f');
  Question question{.options = {{60, text("PXEClient")}}};
  const Said cut = read(answer_dhcp4(question.frame(), guest));
  EXPECT_LE(cut.packet_bytes, 576U);
  EXPECT_TRUE(cut.options.contains(3));
  EXPECT_FALSE(cut.options.contains(15));
  question.options.push_back({57, {0x05, 0xdc}});
  const Said whole = read(answer_dhcp4(question.frame(), guest));
  EXPECT_GT(whole.packet_bytes, 576U);
  EXPECT_TRUE(whole.options.contains(15));
}

TEST(Dhcp4, a_long_boot_file_is_told_before_what_a_guest_can_boot_without_and_what_is_left_out_is_named) {
  Guest guest = web();
  guest.boot.file = std::string(250, 'f');
  Question question{.options = {{60, text("PXEClient")}, {61, Bytes(10, 7)}}};
  Answer answer = answer_dhcp4(question.frame(), guest);
  EXPECT_TRUE(read(answer).options.contains(67));
  EXPECT_EQ(answer.what, "DHCPDISCOVER: DHCPOFFER, without option 28, 6, 26, 12, 15, 42");
  question.options.back().second.resize(30, 7);
  answer = answer_dhcp4(question.frame(), guest);
  EXPECT_FALSE(read(answer).options.contains(67));
  EXPECT_EQ(answer.what, "DHCPDISCOVER: DHCPOFFER, without option 67");
}

TEST(Dhcp4, frames_cut_anywhere_are_malformed_or_answered_and_never_worse) {
  const Bytes whole = Question{.options = {{55, {1, 3, 121}}, {61, {1, 2, 3}}}}.frame();
  for (size_t size = 0; size < whole.size(); ++size) {
    const Answer answer = answer_dhcp4(FrameView(whole).first(size), web());
    EXPECT_FALSE(answer.frame) << size;
    EXPECT_TRUE(answer.what.starts_with("malformed DHCP: ")) << answer.what;
  }
}

TEST(Dhcp4, frames_with_any_byte_changed_end_in_an_answer) {
  std::mt19937 random(7);
  const Bytes whole = Question{.options = {{55, {1, 3, 121}}, {50, bytes_of("10.0.0.1")}, {57, {2, 64}}}}.frame();
  for (int round = 0; round < 20000; ++round) {
    Bytes frame = whole;
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes)
      frame[random() % frame.size()] = static_cast<uint8_t>(random());
    EXPECT_FALSE(answer_dhcp4(frame, web()).what.empty());
  }
}

}  // namespace
}  // namespace sepal::guest
