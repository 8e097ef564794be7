"""Limits on prompts for tests that are not about them."""

from payments.prompts.prompt_limits import PromptLimits

AMPLE = PromptLimits(prompts_an_hour=10**6, numbers_a_day=10**6, prompts_a_number=10**6)
