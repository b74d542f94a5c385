// Every bound of the product in one place, each with its reason.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sepal::limits {

// Configuration. A tenant file a human or a controller writes is kilobytes; these stop accidents and YAML bombs long
// before memory does.
inline constexpr size_t kConfigFileBytesMax = 16UL << 20U;
inline constexpr size_t kConfigBytesMax = 64UL << 20U;  // all files of one directory together
inline constexpr size_t kConfigFilesMax = 4096;
inline constexpr size_t kYamlNodesMax = 2'000'000;
inline constexpr size_t kYamlDepthMax = 32;
inline constexpr size_t kFaultsShownMax = 200;
inline constexpr size_t kNameLengthMax = 63;  // a DNS label; also what fits a journal field comfortably

// Security groups. What they bound is memory of the kernel and time to compile; a packet's verdict costs the same at
// one rule and at all of these.
inline constexpr size_t kGroupsPerPortMax = 16;
inline constexpr size_t kRulesPerTenantMax = 20'000;  // in all its groups
// Networks and groups that rules name as remotes, summed over the combinations of groups that ports have.
inline constexpr size_t kRemotesInPoliciesMax = 500'000;
inline constexpr size_t kGroupAddressesPerTenantMax = 200'000;  // members and networks of rules
inline constexpr size_t kNamesPerAddressMax = 32;               // SEPAL_SELECTORS_MAX: groups and networks that hold it

// Kernel and wire.
inline constexpr uint32_t kChainMax = 0x0fffffff;        // TC_ACT_EXT_VAL_MASK: 28 bits
inline constexpr uint32_t kVniMax = 0xffffff;            // 24 bits, RFC 7348
inline constexpr uint16_t kVidMax = 4094;                // IEEE 802.1Q
inline constexpr size_t kCookieBytes = 16;               // TC_COOKIE_MAX_SIZE
inline constexpr unsigned kActionsMax = 32;              // TCA_ACT_MAX_PRIO
inline constexpr unsigned kGotoDepthMax = 16;            // tcf_classify drops after 16 gotos
inline constexpr size_t kMessageBytesMax = 16UL << 10U;  // one filter with 32 actions is below 8 KiB
inline constexpr unsigned kMessagesPerSend = 64;         // 32..64 measured best; more only grows buffers
inline constexpr unsigned kWindowMessages = 256;         // unanswered requests; each answer may hold 2 KiB of extack
inline constexpr unsigned kWriters = 2;                  // sockets that write filters side by side, a thread each
// Numbers of shared actions begin where the kernel, which numbers everybody's own actions from 1 on, will not come.
inline constexpr uint32_t kSharedActionFirst = 0x40000000;
inline constexpr size_t kSocketBufferBytes = 4UL << 20U;

// What guests ask the services on their link. A question of more than a plain Ethernet frame is none, and an answer
// fits the smallest MTU IPv6 has; the worst of what is left fits in it, DHCPv6 identifiers (130 and 10 bytes) included.
inline constexpr size_t kQuestionBytesMax = 1514;
inline constexpr size_t kDuidBytesMax = 130;         // RFC 8415 section 11.1
inline constexpr size_t kAssociationsMax = 8;        // of one question; a client has one or two
inline constexpr size_t kAddressesToldMax = 16;      // to one association; the first of the port's
inline constexpr size_t kAddressesTakenBackMax = 8;  // in one answer
inline constexpr size_t kServersToldMax = 8;         // of a kind
inline constexpr size_t kSubnetsAdvertisedMax = 16;
inline constexpr size_t kGatewaysAnnouncedMax = 64;  // to one guest at a time; a frame each

// The NIC (mlx5 restores conntrack zones from 8 bits).
inline constexpr uint16_t kOffloadZoneMax = 254;
// Zones at the top of the 16-bit space that serve no tenant: reassembly of fragments to shared public addresses.
inline constexpr uint16_t kZoneReassembly = 65534;
inline constexpr uint16_t kTenantZoneMax = 65000;

// Tunnel overhead in bytes: inner Ethernet 14 + VXLAN 8 + UDP 8 + IP 20 or 40.
inline constexpr unsigned kVxlanOverheadIpv4 = 50;
inline constexpr unsigned kVxlanOverheadIpv6 = 70;
inline constexpr unsigned kMtuMinIpv4 = 576;
inline constexpr unsigned kMtuMinIpv6 = 1280;  // RFC 8200 section 5
inline constexpr unsigned kMtuMax = 65535;

}  // namespace sepal::limits
