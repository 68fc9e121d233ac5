// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {GovernorCountingSimple} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {BaseGovernor} from "./BaseGovernor.sol";

/// @title OpenZeppelin's Governor with GovernorCountingSimple.
contract SimpleGovernor is BaseGovernor, GovernorCountingSimple {
    constructor(
        IVotes token_,
        address guardian,
        uint256 delay,
        uint256 period
    ) BaseGovernor(token_, guardian, delay, period) {}
}
