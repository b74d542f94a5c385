// The doctor's judgements: each a pure function over the facts that adds its findings.
#pragma once

#include "agent/doctor/facts.hpp"
#include "agent/doctor/finding.hpp"

namespace sepal::agent::doctor {

void check_config(const Facts& facts, Findings& out);
void check_kernel(const Facts& facts, Findings& out);     // how it was built
void check_card(const Facts& facts, Findings& out);       // driver, firmware, eSwitch, VFs
void check_offload(const Facts& facts, Findings& out);    // hw-tc-offload of uplink and representors
void check_conntrack(const Facts& facts, Findings& out);  // limits, timeouts
void check_mtu(const Facts& facts, Findings& out);        // guest → tunnel → uplink
void check_ways(const Facts& facts, Findings& out);       // next hops under the tunnel
void check_port(const Facts& facts, Findings& out);       // who else has the tunnels' UDP port
void check_firewall(const Facts& facts, Findings& out);   // whether it lets tunnels in
void check_tracking(const Facts& facts, Findings& out);   // outer packets in conntrack
void check_listeners(const Facts& facts, Findings& out);  // who slows filter writes down
void check_managers(const Facts& facts, Findings& out);   // who else has hands on the devices

// All of them, in this order.
Findings examine(const Facts& facts);

}  // namespace sepal::agent::doctor
