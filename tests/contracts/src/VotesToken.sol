// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Votes} from "@openzeppelin/contracts/governance/utils/Votes.sol";
import {VotesExtended} from "@openzeppelin/contracts/governance/utils/VotesExtended.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";

/// @title A token that votes, by blocks or by seconds, and remembers balances and delegates.
contract VotesToken is ERC20Votes, VotesExtended {
    bool private immutable _seconds;

    constructor(bool seconds_, address[] memory holders, uint256[] memory amounts) ERC20("Votes", "V") EIP712("V", "1") {
        _seconds = seconds_;
        for (uint256 i = 0; i < holders.length; ++i) _mint(holders[i], amounts[i]);
    }

    function clock() public view override returns (uint48) {
        return _seconds ? Time.timestamp() : Time.blockNumber();
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public view override returns (string memory) {
        return _seconds ? "mode=timestamp" : "mode=blocknumber&from=default";
    }

    /// @notice What an account held at a block, as a MiniMe token and DAOstack's Reputation tell it.
    function balanceOfAt(address account, uint256 blockNumber) external view returns (uint256) {
        return getPastBalanceOf(account, blockNumber);
    }

    /// @notice As Compound's token tells it, for Governor Bravo.
    function getPriorVotes(address account, uint256 blockNumber) external view returns (uint96) {
        return uint96(getPastVotes(account, blockNumber));
    }

    function _delegate(address account, address delegatee) internal override(Votes, VotesExtended) {
        super._delegate(account, delegatee);
    }

    function _transferVotingUnits(address from, address to, uint256 amount) internal override(Votes, VotesExtended) {
        super._transferVotingUnits(from, to, amount);
    }
}
