// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {ScorePolicies} from "./ScorePolicies.sol";

/**
 * @title Who held the scorer's role, and when: the set of a round is fixed by when it began.
 * @notice Neither a scorer who is granted the role during a round nor one who loses it then changes that round.
 */
abstract contract ScorerSet is ScorePolicies {
    using Checkpoints for Checkpoints.Trace208;

    bytes32 public constant SCORER_ROLE = keccak256("SCORER_ROLE");

    mapping(address account => Checkpoints.Trace208) private _memberships;
    Checkpoints.Trace208 private _sizes;

    /// @notice Whether the account held the scorer's role at the end of the block of that timestamp.
    function wasScorer(address account, uint48 timestamp) public view returns (bool) {
        return _memberships[account].upperLookupRecent(timestamp) == 1;
    }

    /// @notice How many held it then.
    function scorersAt(uint48 timestamp) public view returns (uint256) {
        return _sizes.upperLookupRecent(timestamp);
    }

    /// @dev A registry without rounds asks for nobody's past, and keeps none.
    function _keepsHistory() internal view virtual returns (bool);

    function _grantRole(bytes32 role, address account) internal virtual override returns (bool granted) {
        granted = super._grantRole(role, account);
        if (granted && role == SCORER_ROLE && _keepsHistory()) _note(account, 1, _sizes.latest() + 1);
    }

    function _revokeRole(bytes32 role, address account) internal virtual override returns (bool revoked) {
        revoked = super._revokeRole(role, account);
        if (revoked && role == SCORER_ROLE && _keepsHistory()) _note(account, 0, _sizes.latest() - 1);
    }

    function _note(address account, uint208 member, uint208 size) private {
        _memberships[account].push(Time.timestamp(), member);
        _sizes.push(Time.timestamp(), size);
    }
}
