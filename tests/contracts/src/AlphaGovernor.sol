// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title What gives a Governor Alpha away: a ballot that is yes or no.
contract AlphaGovernor {
    bytes32 public constant BALLOT_TYPEHASH = keccak256("Ballot(uint256 proposalId,bool support)");
    uint256 public proposalCount;
}
