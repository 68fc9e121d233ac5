// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {
    GovernorCountingOverridable
} from "@openzeppelin/contracts/governance/extensions/GovernorCountingOverridable.sol";
import {BaseGovernor} from "./BaseGovernor.sol";

/// @title OpenZeppelin's Governor with GovernorCountingOverridable.
contract OverridableGovernor is BaseGovernor, GovernorCountingOverridable {
    constructor(
        IVotes token_,
        address guardian,
        uint256 delay,
        uint256 period
    ) BaseGovernor(token_, guardian, delay, period) {}
}
