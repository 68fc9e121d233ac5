// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {IScoredDao} from "./IScoredDao.sol";

/// @notice What Governor Bravo and OpenZeppelin's Governor before 4.9 answer.
interface IClocklessGovernor {
    function state(uint256 proposalId) external view returns (uint8);

    function proposalSnapshot(uint256 proposalId) external view returns (uint256);

    function proposals(
        uint256 proposalId
    )
        external
        view
        returns (
            uint256 id,
            address proposer,
            uint256 eta,
            uint256 startBlock,
            uint256 endBlock,
            uint256 forVotes,
            uint256 againstVotes,
            uint256 abstainVotes,
            bool canceled,
            bool executed
        );
}

/**
 * @title A Governor that counts blocks without a clock, as a registry of scores reads it.
 * @notice Deploy one beside a Governor Bravo, or an OpenZeppelin Governor before 4.9, and give its address to
 * {ProposalScores}. It holds nothing, owns nothing and never changes.
 */
contract BlockClockGovernor is IScoredDao {
    /// @notice The Governor whose proposals are scored.
    IClocklessGovernor public immutable governor;

    /// @notice Whether it is a Governor Bravo, which keeps a snapshot in `proposals`.
    bool public immutable isBravo;

    error InvalidGovernor(address governor);

    /**
     * @param governor_ The Governor.
     * @param isBravo_ Whether it is a Bravo.
     */
    constructor(IClocklessGovernor governor_, bool isBravo_) {
        if (address(governor_).code.length == 0) revert InvalidGovernor(address(governor_));
        governor = governor_;
        isBravo = isBravo_;
    }

    /// @notice The current block, which is what such a Governor counts.
    function clock() external view returns (uint48) {
        return Time.blockNumber();
    }

    /// @notice What the clock counts, as ERC-6372 words it.
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() external pure returns (string memory) {
        return "mode=blocknumber&from=default";
    }

    /// @inheritdoc IScoredDao
    function proposalSnapshot(uint256 proposalId) external view returns (uint256 snapshot) {
        if (!isBravo) return governor.proposalSnapshot(proposalId);
        (, , , snapshot, , , , , , ) = governor.proposals(proposalId);
    }

    /// @inheritdoc IScoredDao
    function state(uint256 proposalId) external view returns (uint8) {
        return governor.state(proposalId);
    }
}
