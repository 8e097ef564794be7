-- The names of places, for the figures by county.

CREATE VIEW analytics.counties AS SELECT county_id, name FROM public.shop_counties;
COMMENT ON VIEW analytics.counties IS 'One row a county of Kenya.';
COMMENT ON COLUMN analytics.counties.county_id IS 'Its official code.';
COMMENT ON COLUMN analytics.counties.name IS 'Its name.';

CREATE VIEW analytics.subcounties AS SELECT subcounty_id, county_id, name FROM public.shop_subcounties;
COMMENT ON VIEW analytics.subcounties IS 'One row a subcounty.';
COMMENT ON COLUMN analytics.subcounties.subcounty_id IS 'Its id, which never changes its meaning.';
COMMENT ON COLUMN analytics.subcounties.county_id IS 'Its county.';
COMMENT ON COLUMN analytics.subcounties.name IS 'Its name.';
